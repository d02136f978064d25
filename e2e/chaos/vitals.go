package chaos

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// vitals are what a process has of what may leak.
type vitals struct {
	Pod        string
	Started    float64 // by which a process is known again
	Goroutines int
	Files      int // descriptors, sockets among them
	Memory     int // resident, in bytes
	// Leads says that it is the controller that leads, which does more than the other.
	Leads bool
}

// the metrics that tell them.
const (
	startMetric      = "process_start_time_seconds"
	goroutinesMetric = "go_goroutines"
	filesMetric      = "process_open_fds"
	memoryMetric     = "process_resident_memory_bytes"
)

// measure takes the vitals of all of Herald's processes.
func (s *stage) measure(ctx context.Context) (all []vitals, err error) {
	lease, err := s.client.CoordinationV1().Leases(herald.Namespace).Get(ctx, "metallb-controller", metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read who leads: %w", err)
	}
	for _, component := range []string{"controller", "speaker"} {
		pods, err := herald.Pods(ctx, s.lab, component)
		if err != nil {
			return nil, err
		}
		for _, pod := range pods {
			v, err := s.vitalsOf(ctx, &pod)
			if err != nil {
				return nil, fmt.Errorf("read the metrics of pod %s: %w", pod.Name, err)
			}
			v.Leads = lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity == pod.Name
			all = append(all, v)
		}
	}
	return all, nil
}

func (s *stage) vitalsOf(ctx context.Context, pod *corev1.Pod) (v vitals, err error) {
	address, err := netip.ParseAddr(pod.Status.PodIP)
	if err != nil {
		return v, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+netip.AddrPortFrom(address, 9120).String()+"/metrics", nil)
	if err != nil {
		return v, err
	}
	request.Header.Set("Authorization", "Bearer "+s.lab.RESTConfig().BearerToken)
	transport := &http.Transport{
		DialContext:     s.lab.DialFrom(lab.Control),
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // its certificate is made at its start
	}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return v, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return v, fmt.Errorf("answered %s", response.Status)
	}
	m, err := parseMetrics(response.Body)
	return vitals{
		Pod: pod.Name, Started: m[startMetric], Goroutines: int(m[goroutinesMetric]), Files: int(m[filesMetric]),
		Memory: int(m[memoryMetric]),
	}, err
}

// parseMetrics reads those that have no labels.
func parseMetrics(text io.Reader) (map[string]float64, error) {
	all := map[string]float64{}
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.ContainsAny(name, "#{") {
			continue
		}
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("read the metric %s: %w", name, err)
		}
		all[name] = number
	}
	return all, lines.Err()
}

// aging is one process, as it was and as it is.
type aging struct{ young, old vitals }

// agings are the processes that lived from one measurement to the other.
func agings(before, after []vitals) (all []aging) {
	for _, young := range before {
		for _, old := range after {
			if young.Pod == old.Pod && young.Started == old.Started {
				all = append(all, aging{young, old})
			}
		}
	}
	return all
}

// What a process may have more of than before, in like state: it goes up and down.
const (
	moreGoroutines = 15
	moreFiles      = 15
	moreMemory     = 0.5 // of what it had
)

// leaks tells what a process has more of, unless it does something else than before.
func (a aging) leaks() (complaints []string) {
	if a.young.Leads != a.old.Leads {
		return nil
	}
	if grown := a.old.Goroutines - a.young.Goroutines; grown > moreGoroutines {
		complaints = append(complaints, fmt.Sprintf("%s has %d goroutines more", a.old.Pod, grown))
	}
	if grown := a.old.Files - a.young.Files; grown > moreFiles {
		complaints = append(complaints, fmt.Sprintf("%s has %d open files more", a.old.Pod, grown))
	}
	if grown := a.old.Memory - a.young.Memory; float64(grown) > moreMemory*float64(a.young.Memory) {
		complaints = append(complaints, fmt.Sprintf("%s has %d MB of memory more", a.old.Pod, grown>>20))
	}
	return complaints
}
