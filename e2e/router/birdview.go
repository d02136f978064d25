package router

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Sessions are all sessions, up or not.
func (b *BIRD) Sessions(ctx context.Context) ([]Session, error) {
	said, err := b.birdc(ctx, "show protocols all")
	if err != nil {
		return nil, err
	}
	return parseBIRDSessions(said)
}

// parseBIRDSessions reads blocks that each begin with a line of the table: name, protocol, and so on.
func parseBIRDSessions(said string) (all []Session, err error) {
	var s *Session
	for line := range strings.Lines(said) {
		line = strings.TrimRight(line, "\n")
		if words := strings.Fields(line); !strings.HasPrefix(line, " ") {
			s = nil
			if len(words) > 1 && words[1] == "BGP" {
				all = append(all, Session{})
				s = &all[len(all)-1]
			}
			continue
		}
		if s == nil {
			continue
		}
		if err := s.readBIRD(strings.TrimSpace(line)); err != nil {
			return nil, fmt.Errorf("parse what BIRD says of a session: %q: %w", line, err)
		}
	}
	slices.SortFunc(all, func(a, b Session) int { return strings.Compare(a.Neighbour, b.Neighbour) })
	return all, nil
}

// imported finds how many routes a channel has.
var imported = regexp.MustCompile(`^(\d+) imported`)

// readBIRD takes one line about a session. Capabilities are told of both ends, the neighbour's last.
func (s *Session) readBIRD(line string) (err error) {
	key, value, _ := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	switch key {
	case "BGP state":
		s.State, s.Established = value, value == "Established"
	case "Neighbor address", "Neighbor range":
		s.Neighbour = value
	case "Neighbor AS":
		_, err = fmt.Sscan(value, &s.ASN)
	case "Neighbor ID":
		s.RouterID, err = netip.ParseAddr(value)
	case "Neighbor capabilities":
		s.Capabilities = nil
	case "Restart time":
		s.RestartTime, err = seconds(value)
		s.Capabilities = append(s.Capabilities, GracefulRestart)
	case "Extended next hop":
		s.Capabilities = append(s.Capabilities, ExtendedNextHop)
	case "Hold timer":
		s.HoldTime, err = negotiated(value)
	case "Keepalive timer":
		s.Keepalive, err = negotiated(value)
	case "Last error":
		s.LastError = value
	case "Routes":
		if found := imported.FindStringSubmatch(value); found != nil {
			count, _ := strconv.Atoi(found[1])
			s.Received += count
		}
	case "Import updates":
		if columns := strings.Fields(value); len(columns) > 0 {
			count, _ := strconv.Atoi(columns[0])
			s.UpdatesReceived += count
		}
	}
	return err
}

// negotiated reads a timer, what is left of how much: 8.193/9.
func negotiated(timer string) (time.Duration, error) {
	_, whole, _ := strings.Cut(timer, "/")
	return seconds(whole)
}

func seconds(number string) (time.Duration, error) {
	return time.ParseDuration(strings.TrimSpace(number) + "s")
}

// Routes are all routes that it has received, of both families.
func (b *BIRD) Routes(ctx context.Context) ([]Route, error) {
	said, err := b.birdc(ctx, "show route all where source = RTS_BGP")
	if err != nil {
		return nil, err
	}
	neighbours, err := b.birdc(ctx, "show protocols all")
	if err != nil {
		return nil, err
	}
	return parseBIRDRoutes(said, parseBIRDNeighbours(neighbours))
}

// parseBIRDNeighbours finds the address of each protocol's neighbour: routes name the protocol alone.
func parseBIRDNeighbours(said string) map[string]string {
	neighbours := map[string]string{}
	protocol := ""
	for line := range strings.Lines(said) {
		words := strings.Fields(line)
		switch {
		case len(words) > 1 && !strings.HasPrefix(line, " "):
			protocol = words[0]
		case len(words) > 2 && words[0] == "Neighbor" && words[1] == "address:":
			neighbours[protocol] = words[2]
		}
	}
	return neighbours
}

// birdPath is the first line of a path: perhaps the prefix, and the protocol in brackets; a star is on the best one.
//
//	192.168.10.200/32    unicast [with_192_168_10_11 16:15:34.309] * (100) [AS64500i]
//	                     unicast [with_192_168_10_12 16:15:34.309] (100) [AS64500i]
var birdPath = regexp.MustCompile(`^(\S+)?\s+\w+ \[(\S+) [^\]]*\]( \*)?`)

func parseBIRDRoutes(said string, neighbours map[string]string) (all []Route, err error) {
	var prefix netip.Prefix
	lines := bufio.NewScanner(strings.NewReader(said))
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "\t") {
			if len(all) > 0 {
				if err := all[len(all)-1].readBIRD(strings.TrimSpace(line)); err != nil {
					return nil, fmt.Errorf("parse what BIRD says of a route to %s: %q: %w", prefix, line, err)
				}
			}
			continue
		}
		found := birdPath.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		if found[1] != "" {
			if prefix, err = netip.ParsePrefix(found[1]); err != nil {
				return nil, fmt.Errorf("parse what BIRD says of a route: %q: %w", line, err)
			}
		}
		all = append(all, Route{Prefix: prefix, From: neighbours[found[2]], Best: found[3] != ""})
	}
	sortRoutes(all)
	return all, lines.Err()
}

// readBIRD takes one attribute of a path.
func (r *Route) readBIRD(line string) (err error) {
	key, value, _ := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	switch key {
	case "BGP.next_hop":
		for _, hop := range strings.Fields(value) {
			address, err := netip.ParseAddr(hop)
			if err != nil {
				return err
			}
			r.NextHops = append(r.NextHops, address)
		}
	case "BGP.as_path":
		for _, asn := range strings.Fields(value) {
			number, err := strconv.ParseUint(asn, 10, 32)
			if err != nil {
				return err
			}
			r.Path = append(r.Path, uint32(number))
		}
	case "BGP.local_pref":
		r.LocalPref, err = number(value)
	case "BGP.med":
		r.MED, err = number(value)
	case "BGP.community":
		r.Communities = tuples(value)
	case "BGP.large_community":
		r.LargeCommunities = tuples(value)
	}
	return err
}

func number(text string) (*uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	n32 := uint32(n)
	return &n32, err
}

// tuples reads (64512,100) (64512, 1, 2).
func tuples(text string) (all []string) {
	for tuple := range strings.SplitSeq(text, ")") {
		if tuple = strings.Trim(tuple, " ("); tuple != "" {
			all = append(all, strings.ReplaceAll(strings.ReplaceAll(tuple, " ", ""), ",", ":"))
		}
	}
	slices.Sort(all)
	return all
}

// BFD are the paths that it watches.
func (b *BIRD) BFD(ctx context.Context) ([]BFDSession, error) {
	said, err := b.birdc(ctx, "show bfd sessions")
	if err != nil {
		return nil, err
	}
	return parseBIRDBFD(said), nil
}

// parseBIRDBFD reads lines of address, link and state, below a heading.
func parseBIRDBFD(said string) (all []BFDSession) {
	for line := range strings.Lines(said) {
		words := strings.Fields(line)
		if len(words) < 3 {
			continue
		}
		if peer, err := netip.ParseAddr(words[0]); err == nil {
			all = append(all, BFDSession{Peer: peer, State: strings.ToLower(words[2]), Up: words[2] == "Up", MultiHop: words[1] == "---"})
		}
	}
	return all
}
