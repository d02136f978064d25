package members

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
)

type sync_ struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *sync_) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Contains(string(p), "member died") || strings.Contains(string(p), "Refuting") {
		fmt.Fprintf(&s.b, "%s %s", time.Now().Format("05.000"), p)
	}
	return len(p), nil
}

func TestZZLoad(t *testing.T) {
	if os.Getenv("ZZ") == "" {
		t.Skip()
	}
	d, _ := time.ParseDuration(os.Getenv("ZZ"))
	for _, n := range []int{5} {
		l := &lan{net: 99, nodes: n}
		w := &sync_{}
		var ms []*Members
		for i := 1; i <= n; i++ {
			m, err := New(log.NewLogfmtLogger(w), l.config(i), l.discover)
			if err != nil {
				t.Fatal(err)
			}
			go m.Start(t.Context())
			ms = append(ms, m)
		}
		time.Sleep(3 * time.Second)
		fmt.Println(n, "alive", len(ms[0].Alive()))
		time.Sleep(d)
		fmt.Println(n, "alive", len(ms[0].Alive()))
		fmt.Println("died", strings.Count(w.b.String(), "died"), "refuted", strings.Count(w.b.String(), "Refuting a suspect"))
	}
}
