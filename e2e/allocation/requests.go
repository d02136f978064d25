package allocation

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
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

var requestMetric = regexp.MustCompile(`^rest_client_requests_total\{.*method="([A-Z]+)".*\} (.+)$`)

// Requests reads client-go's own count in the controller's metrics.
func (c *Controller) Requests(ctx context.Context) (Requests, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://127.0.0.1:9120/metrics", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.world.Lab.RESTConfig().BearerToken)
	transport := c.http.Transport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // its certificate is made at its start
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, fmt.Errorf("read the controller's metrics: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the controller's metrics: %s", response.Status)
	}
	all := Requests{}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if m := requestMetric.FindStringSubmatch(lines.Text()); m != nil {
			count, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				return nil, fmt.Errorf("read the metric %q: %w", lines.Text(), err)
			}
			all[m[1]] += int(count)
		}
	}
	return all, nil
}
