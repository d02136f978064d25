package router

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// vty is a conversation with one of FRR's programs over its socket, as vtysh holds it: a command ends with a zero byte, and
// the answer with three of them and a status. It is for asking often: a vtysh takes longer to start than FRR to answer.
type vty struct {
	conn   net.Conn
	answer *bufio.Reader
}

func (f *FRR) dial(ctx context.Context, program string) (*vty, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", f.dir(program+".vty"))
	if err != nil {
		return nil, fmt.Errorf("talk to %s on %s: %w", program, f.host, err)
	}
	v := &vty{conn, bufio.NewReader(conn)}
	_, err = v.ask("enable")
	return v, err
}

func (v *vty) ask(command string) ([]byte, error) {
	if _, err := v.conn.Write(append([]byte(command), 0)); err != nil {
		return nil, err
	}
	var said []byte
	for !bytes.HasSuffix(said, []byte{0, 0, 0}) {
		b, err := v.answer.ReadByte()
		if err != nil {
			return nil, err
		}
		said = append(said, b)
	}
	status, err := v.answer.ReadByte()
	if err == nil && status != 0 {
		err = fmt.Errorf("tell FRR %q: status %d: %s", command, status, said)
	}
	return said[:len(said)-3], err
}

// AwaitPath asks every millisecond until BGP has a path to a prefix, or none any more, and tells when that was. FRR takes
// another 50 ms and more before it tells the kernel: it gathers changes.
func (f *FRR) AwaitPath(ctx context.Context, prefix netip.Prefix, wanted bool) (time.Time, error) {
	v, err := f.dial(ctx, bgpd)
	if err != nil {
		return time.Time{}, err
	}
	defer v.conn.Close()
	family := map[bool]string{true: "ipv4", false: "ipv6"}[prefix.Addr().Is4()]
	for {
		said, err := v.ask(fmt.Sprintf("show bgp %s unicast %s json", family, prefix))
		if err != nil {
			return time.Time{}, err
		}
		// One that was withdrawn stays in sight until FRR gets around to removing it, but is not valid.
		if bytes.Contains(said, []byte(`"valid":true`)) == wanted {
			return time.Now(), nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("wait for a path to %s: %w", prefix, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}
