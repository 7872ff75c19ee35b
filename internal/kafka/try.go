package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Try returns nil if a broker answers as Kafka does and accepts the user. Errors:
// *RefusedError if the reason is known; ctx's; others.
func (c Config) Try(ctx context.Context) error {
	got, err := c.ping(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return refused
	}
	_, ended := errors.AsType[*kgo.ErrFirstReadEOF](err)
	atPassword := got.unanswered == kmsg.SASLHandshake || got.unanswered == kmsg.SASLAuthenticate
	switch {
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return &RefusedError{Cause: "the brokers do not offer the mechanism " + c.SASL.Mechanism, Remedy: "correct kafka.sasl.mechanism, or enable this mechanism in the brokers"}
	case errors.Is(err, kerr.IllegalSaslState):
		return &RefusedError{Cause: "the brokers ask for no user at this port", Remedy: "remove kafka.sasl, or name the brokers' port with SASL"}
	case errors.Is(err, kerr.SaslAuthenticationFailed), got.answered && atPassword && errors.Is(err, io.EOF):
		return &RefusedError{
			Cause:  "the brokers do not accept the user " + c.SASL.User + " with this password and " + c.SASL.Mechanism,
			Remedy: "correct kafka.sasl, or add the user in the brokers",
		}
	case got.answered && ended:
		return &RefusedError{Cause: "the brokers ask for a user and a password", Remedy: "set kafka.sasl"}
	}
	slow, ok := errors.AsType[net.Error](err)
	if got.answered || ok && slow.Timeout() {
		return err
	}
	return c.tryOther(ctx, err)
}

// tryOther finds out whether the brokers, which ended a connection for the reason err,
// answer with TLS in place of none, or the other way round.
func (c Config) tryOther(ctx context.Context, err error) error {
	other := Config{Brokers: c.Brokers, Dial: c.Dial}
	if c.TLS == nil {
		// Any certificate will do: no secret is sent.
		other.TLS = func() (*tls.Config, error) { return &tls.Config{InsecureSkipVerify: true}, nil } //nolint:gosec // see above
	}
	got, otherErr := other.ping(ctx)
	_, refused := errors.AsType[*RefusedError](otherErr) // as by brokers that want a client's certificate
	switch {
	case !got.answered && !refused:
		return err
	case c.TLS == nil:
		return &RefusedError{Cause: "the brokers answer with TLS alone at this port", Remedy: "set kafka.tls.enabled: true"}
	}
	return &RefusedError{Cause: "the brokers answer without TLS at this port", Remedy: "set kafka.tls.enabled: false, or name the brokers' port with TLS"}
}

// pong is what the brokers have answered to a ping.
type pong struct {
	answered   bool     // they speak Kafka
	unanswered kmsg.Key // the last request that got no answer
}

// pingLimit is how long a broker may take to answer a request. The client asks a broker twice
// that does not answer the first request of a connection. So one such broker takes 4 of the 5 s
// of brokers.Ask, and another broker is still asked.
const pingLimit = 2 * time.Second

// ping asks each broker for metadata once, until one answers or ctx ends.
func (c Config) ping(ctx context.Context) (pong, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h, dial := &pongHook{}, c.dialer()
	client, err := kgo.NewClient(append(c.Options(slog.New(slog.DiscardHandler)), kgo.WithHooks(h),
		kgo.RequestTimeoutOverhead(pingLimit), kgo.RequestRetries(0),
		kgo.Dialer(func(dialCtx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(dialCtx, network, address)
			if err == nil { // the client does not look at ctx while it waits for a connection's first answers
				context.AfterFunc(ctx, func() { _ = conn.Close() })
			}
			return conn, err
		}))...)
	if err != nil {
		return pong{}, err
	}
	defer client.Close()
	err = client.Ping(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pong, err
}

// pongHook is a hook of the client that fills a pong.
type pongHook struct {
	mu sync.Mutex
	pong
}

// OnBrokerRead implements kgo.HookBrokerRead.
func (h *pongHook) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.answered = true
	} else {
		h.unanswered = kmsg.Key(key)
	}
}
