package herald

import (
	"slices"
	"testing"

	"github.com/herald-lb/herald/e2e/lab"
)

// What arping of iputils 20221126 and ndisc6 1.0.5 print.
const (
	arpingAnswered = `ARPING 192.168.10.200 from 192.168.10.5 eth0
Unicast reply from 192.168.10.200 [02:4C:41:42:00:0C]  0.915ms
Sent 1 probes (1 broadcast(s))
Received 1 response(s)
`
	arpingAnsweredTwice = `ARPING 192.168.10.200 from 192.168.10.5 eth0
Unicast reply from 192.168.10.200 [02:4C:41:42:00:0C]  0.915ms
Unicast reply from 192.168.10.200 [02:4C:41:42:00:0B]  0.931ms
Unicast reply from 192.168.10.200 [02:4C:41:42:00:0C]  0.850ms
Sent 2 probes (2 broadcast(s))
Received 3 response(s)
`
	arpingUnanswered = `ARPING 192.168.10.249 from 192.168.10.5 eth0
Sent 2 probes (2 broadcast(s))
Received 0 response(s)
`
	ndiscAnswered = `Soliciting fd00:10::200 (fd00:10::200) on eth0...
Target link-layer address: 02:4C:41:42:00:0C
 from fd00:10::200
`
	ndiscUnanswered = `Soliciting fd00:10::24f (fd00:10::24f) on eth0...
Timed out.
No response.
`
)

func TestHostsThatAnswerAreKnownByTheirLinkLayerAddresses(t *testing.T) {
	all := []lab.Host{lab.Router, lab.Client, "node1", "node2", lab.Far}
	for _, c := range []struct {
		name, output string
		want         []lab.Host
	}{
		{"arping, one answer", arpingAnswered, []lab.Host{"node2"}},
		{"arping, answers of two", arpingAnsweredTwice, []lab.Host{"node1", "node2"}},
		{"arping, none", arpingUnanswered, nil},
		{"ndisc6, one answer", ndiscAnswered, []lab.Host{"node2"}},
		{"ndisc6, none", ndiscUnanswered, nil},
		{"a stranger", "Unicast reply from 192.168.10.200 [02:4C:41:42:00:63]  0.9ms", []lab.Host{"02:4C:41:42:00:63"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !spoke(c.output) {
				t.Error("it is taken for a complaint")
			}
			if got := hostsIn(c.output, all); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestAComplaintIsNoAnswer(t *testing.T) {
	for _, output := range []string{"", "arping: Device eth0 not available.", "ndisc6: command not found"} {
		if spoke(output) {
			t.Errorf("%q is taken for an answer", output)
		}
	}
}
