package allocation

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// Requests counts what the controller has asked of the API server, by the method of HTTP.
type Requests map[string]int

// Writes are all that change objects. New Events are not among them, although they are objects too: a POST may as well be
// the question who it is that reads these very metrics.
func (r Requests) Writes() int { return r["PUT"] + r["PATCH"] + r["DELETE"] }

// Since returns what was asked after an earlier count.
func (r Requests) Since(earlier Requests) Requests {
	out := Requests{}
	for method, count := range r {
		if count != earlier[method] {
			out[method] = count - earlier[method]
		}
	}
	return out
}

// leaseWrites counts those PUT requests that renew the Lease, which go on forever.
const leaseWrites = "metallb_controller_lease_writes_total "

// renewals is where they stand among the methods.
const renewals = "renewals"

// A request without an answer has <error> as its code, and is not counted: most of them never went out.
var requestMetric = regexp.MustCompile(`^rest_client_requests_total\{code="\d+",.*method="([A-Z]+)".*\} (.+)$`)

// Requests reads client-go's own count in the controller's metrics. Renewals of the Lease are left out. A renewal may come
// between the two counts of one answer, so two answers must agree.
func (c *Controller) Requests(ctx context.Context) (Requests, error) {
	before, err := c.requests(ctx)
	for err == nil {
		var now Requests
		if now, err = c.requests(ctx); err == nil && now["PUT"] == before["PUT"] && now[renewals] == before[renewals] {
			now["PUT"] -= now[renewals]
			delete(now, renewals)
			return now, nil
		}
		before = now
	}
	return nil, err
}

func (c *Controller) requests(ctx context.Context) (Requests, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://127.0.0.1:9120/metrics", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.world.Lab.RESTConfig().BearerToken)
	transport := c.http.Transport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // its certificate is made at its start
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	for errors.Is(err, syscall.ECONNREFUSED) && c.rest(ctx) == nil { // it is ready before it has made its certificate
		response, err = transport.RoundTrip(request)
	}
	if err != nil {
		return nil, fmt.Errorf("read the controller's metrics: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the controller's metrics: %s", response.Status)
	}
	all := Requests{}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if err := all.add(lines.Text()); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// add takes a line of the metrics into account.
func (r Requests) add(line string) error {
	method, value := renewals, ""
	if m := requestMetric.FindStringSubmatch(line); m != nil {
		method, value = m[1], m[2]
	} else if v, ok := strings.CutPrefix(line, leaseWrites); ok {
		value = v
	} else {
		return nil
	}
	count, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return fmt.Errorf("read the metric %q: %w", line, err)
	}
	r[method] += int(count)
	return nil
}
