package harness

import (
	"testing"
)

// otherRelease marks the programs that are built as another release, whose
// scripts keep other data.
const otherRelease = "-of-another-release"

// BuildAnotherRelease builds its programs, which takes a while.
func BuildAnotherRelease(tb testing.TB) {
	tb.Helper()
	for _, program := range []string{"pwdist-proxy", "pwdist-worker"} {
		Binary(tb, program+otherRelease)
	}
}

// AddProxyOfAnotherRelease is AddProxy for a proxy that cannot share a pool
// with the others.
func (p *Pool) AddProxyOfAnotherRelease(tb testing.TB, more Settings) *Service {
	tb.Helper()
	s := p.foreignProxy(tb, more)
	p.Proxies = append(p.Proxies, s)
	s.Start(tb)
	return s
}

// AddWorkerOfAnotherRelease is AddWorker for a worker that cannot share a pool
// with the others.
func (p *Pool) AddWorkerOfAnotherRelease(tb testing.TB, more Settings) *Service {
	tb.Helper()
	s := p.foreignWorker(tb, more)
	p.Workers = append(p.Workers, s)
	s.Start(tb)
	return s
}

// TryProxyOfAnotherRelease starts one that is not expected to stay.
func (p *Pool) TryProxyOfAnotherRelease(tb testing.TB) *Process {
	tb.Helper()
	return p.try(tb, p.foreignProxy(tb, nil))
}

// TryWorkerOfAnotherRelease starts one that is not expected to stay.
func (p *Pool) TryWorkerOfAnotherRelease(tb testing.TB) *Process {
	tb.Helper()
	return p.try(tb, p.foreignWorker(tb, nil))
}

func (p *Pool) foreignProxy(tb testing.TB, more Settings) *Service {
	tb.Helper()
	s := p.add("other-proxy", Binary(tb, "pwdist-proxy"+otherRelease), Port(tb), Port(tb), p.options.Proxy, more)
	s.command.Name = s.Name
	return s
}

func (p *Pool) foreignWorker(tb testing.TB, more Settings) *Service {
	tb.Helper()
	port := Port(tb)
	s := p.add("other-worker", Binary(tb, "pwdist-worker"+otherRelease), port, Port(tb), p.ofWorker(port), more)
	s.command.Name = s.Name
	return s
}

func (p *Pool) try(tb testing.TB, s *Service) *Process {
	tb.Helper()
	now := Start(tb, p.dir, s.command)
	tb.Cleanup(now.Kill)
	return now
}
