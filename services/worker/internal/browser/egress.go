package browser

import "fmt"

// egressArgs keep Chromium from what does not go through a proxy: datagrams of
// WebRTC and QUIC, and questions to DNS. Without the first they would be sent. The
// headless shell sends none of the others while it has a proxy for everything,
// HTTP/3 by force included; those are for other builds.
var egressArgs = []string{
	"--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
	"--disable-quic",
	"--dns-prefetch-disable",
}

// holdEgress has pages, and what the server requests for clients, go through
// the proxy. Loopback is no exception, as it would be by default of Chromium's.
func holdEgress(config map[string]any, o Options) {
	config["proxy"] = map[string]string{"server": fmt.Sprintf("http://127.0.0.1:%d", o.EgressPort()), "bypass": "<-loopback>"}
	config["args"] = append(append([]string{}, egressArgs...), o.Args...)
}
