package app

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/tokens"
	"github.com/playwright-distributed/playwright-distributed/shared/config"
)

// openTokens reads who may come in, and warns where anybody may.
func (p *proxy) openTokens() error {
	if !p.config.Tokens.On() {
		if !config.Loopback(p.config.Listen) {
			p.log.Warn("there are no tokens: whoever reaches this address gets a browser (make one with \"pwdist-proxy token new\" and set tokens.file)",
				zap.String("listen", p.config.Listen))
		}
		return nil
	}
	store, err := tokens.Open(p.config.Tokens, p.log)
	if err != nil {
		return err
	}
	store.Reloaded = p.metrics.tokensReloaded
	p.tokens = store
	p.log.Info("only clients with a token are let in", zap.Strings("tokens", store.Set().Names()))
	return nil
}

// followTokens keeps the tokens as their file has them. Without a file, SIGHUP
// ends the process as ever.
func (p *proxy) followTokens(ctx context.Context) {
	if p.tokens == nil || p.config.Tokens.File == "" {
		return
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	p.tasks.Go(func() {
		defer signal.Stop(hup)
		p.tokens.Run(ctx, hup)
	})
}
