package redisx

import "github.com/redis/rueidis"

// AddFlags is what the server's notification flags become.
var AddFlags = addFlags

// Hear gives the watcher a notification as the connection's read loop does.
func (w *Watcher) Hear(key string) {
	w.onMessage(rueidis.PubSubMessage{Channel: "__keyspace@0__:" + key, Message: "hset"})
}
