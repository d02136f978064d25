package ipam_test

import (
	"testing"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

func TestRequests(t *testing.T) {
	blue := pool("blue", "192.0.2.1-192.0.2.9", "2001:db8::1-2001:db8::9")
	green := with(pool("green", "198.51.100.1-198.51.100.9"), onRequestOnly)
	tell(t, []story{
		{"a service that asks for nothing gets the lowest address", []step{
			pools(blue),
			assign(service("web"), "given 192.0.2.1 from blue"),
		}},
		{"a service gets the very address that it asks for", []step{
			pools(blue),
			assign(service("web", asks("192.0.2.7")), "given 192.0.2.7 from blue"),
		}},
		{"addresses of both families are given in the order asked for", []step{
			pools(blue),
			assign(service("web", dual(lb.RequireDualStack), asks("2001:db8::5", "192.0.2.5")), "given 2001:db8::5,192.0.2.5 from blue"),
		}},
		{"a requested address in no pool is refused", []step{
			pools(blue),
			assign(service("web", asks("203.0.113.1")), `pending: "203.0.113.1" is not allowed in config: it is in no pool`),
		}},
		{"requested addresses of two pools are refused", []step{
			pools(blue, pool("six", "2001:db8:6::1")),
			assign(service("web", dual(lb.RequireDualStack), asks("192.0.2.1", "2001:db8:6::1")), `pending: 192.0.2.1,2001:db8:6::1 are of the two pools "blue" and "six"`),
		}},
		{"a requested address that another holds is refused", []step{
			pools(blue),
			assign(service("web", asks("192.0.2.7")), "given 192.0.2.7 from blue"),
			assign(service("api", asks("192.0.2.7")), `pending: can't share "192.0.2.7" with default/web: it is in use and not shared`),
		}},
		{"one address does not do for a dual-stack service that names it, even where one is preferred", []step{
			pools(blue),
			assign(service("web", dual(lb.PreferDualStack), asks("192.0.2.7")), "AllocationFailed: the requested addresses 192.0.2.7 do not match the IP families of the cluster IPs 10.96.0.10,fd00::10"),
		}},
		{"an address of the other family is refused, and what is held is kept", []step{
			pools(blue),
			assign(service("web"), "given 192.0.2.1 from blue"),
			assign(service("web", asks("2001:db8::5")), "keeps 192.0.2.1 from blue, but AllocationFailed: the requested addresses 2001:db8::5 do not match the IP families of the cluster IPs 10.96.0.10"),
		}},
		{"a malformed request gets nothing", []step{
			pools(blue),
			assign(service("web", asksNonsense()), "LoadBalancerFailed: the request is malformed"),
		}},
		{"a request that became malformed takes nothing away", []step{
			pools(blue),
			assign(service("web"), "given 192.0.2.1 from blue"),
			assign(service("web", asksNonsense(), asks("192.0.2.5")), "keeps 192.0.2.1 from blue, but LoadBalancerFailed: the request is malformed"),
		}},
		{"a change of the requested address moves the service", []step{
			pools(blue),
			assign(service("web", asks("192.0.2.7")), "given 192.0.2.7 from blue"),
			assign(service("web", asks("192.0.2.8")), "given 192.0.2.8 from blue; lost its own: the service asks for 192.0.2.8"),
			assign(service("api", asks("192.0.2.7")), "given 192.0.2.7 from blue"),
		}},
		{"a change of the order of the requested addresses changes nothing", []step{
			pools(blue),
			assign(service("web", dual(lb.RequireDualStack), asks("2001:db8::5", "192.0.2.5")), "given 2001:db8::5,192.0.2.5 from blue"),
			assign(service("web", dual(lb.RequireDualStack), asks("192.0.2.5", "2001:db8::5")), "keeps 2001:db8::5,192.0.2.5 from blue"),
		}},
		{"a request withdrawn leaves the service where it is", []step{
			pools(blue, green),
			assign(service("web", asks("192.0.2.7")), "given 192.0.2.7 from blue"),
			assign(service("web"), "keeps 192.0.2.7 from blue"),
			assign(service("api", asksPool("green")), "given 198.51.100.1 from green"),
			assign(service("api"), "keeps 198.51.100.1 from green"),
		}},
		{"a moved service that cannot have what it asks for now has nothing", []step{
			pools(blue),
			assign(service("api", asks("192.0.2.7")), "given 192.0.2.7 from blue"),
			assign(service("web"), "given 192.0.2.1 from blue"),
			assign(service("web", asks("192.0.2.7")), `pending: can't share "192.0.2.7" with default/api: it is in use and not shared; lost its own: the service asks for 192.0.2.7`),
		}},
		{"a pool asked for by name is the only one tried", []step{
			pools(blue, green),
			assign(service("web", asksPool("green")), "given 198.51.100.1 from green"),
			assign(service("api", ipv6(), asksPool("green")), `pending: no available IPs in pool "green" for IPv6`),
		}},
		{"a pool that does not assign automatically gives on request only", []step{
			pools(green),
			assign(service("web"), "pending: no pool is open to the service: none that assigns automatically accepts it"),
			assign(service("api", asks("198.51.100.4")), "given 198.51.100.4 from green"),
		}},
		{"a pool that does not exist gives nothing", []step{
			pools(blue),
			assign(service("web", asksPool("gren")), `pending: unknown pool "gren"`),
		}},
		{"a change of the requested pool moves the service", []step{
			pools(blue, green),
			assign(service("web"), "given 192.0.2.1 from blue"),
			assign(service("web", asksPool("green")), `given 198.51.100.1 from green; lost its own: the service asks for pool "green"`),
		}},
		{"a requested address must be of the requested pool", []step{
			pools(blue, green),
			assign(service("web", asksPool("green"), asks("192.0.2.7")), `pending: "192.0.2.7" is of pool "blue", but the service asks for pool "green"`),
			assign(service("web", asksPool("blue"), asks("192.0.2.7")), "given 192.0.2.7 from blue"),
		}},
		{"without pools there is nothing to be had", []step{
			pools(),
			assign(service("web"), "pending: there is no IPAddressPool"),
		}},
	})
}

func TestSharing(t *testing.T) {
	one := pools(pool("one", "192.0.2.1"))
	four := pools(pool("four", "192.0.2.1-192.0.2.4"))
	tell(t, []story{
		{"equal keys share an address on different ports", []step{
			one,
			assign(service("web", shares("k", "TCP/80")), "given 192.0.2.1 from one"),
			assign(service("dns", shares("k", "UDP/53", "TCP/53")), "given 192.0.2.1 from one"),
		}},
		{"the same number of another protocol is another port", []step{
			one,
			assign(service("tcp", shares("k", "TCP/53")), "given 192.0.2.1 from one"),
			assign(service("udp", shares("k", "UDP/53")), "given 192.0.2.1 from one"),
		}},
		{"different keys do not share", []step{
			one,
			assign(service("web", shares("k", "TCP/80")), "given 192.0.2.1 from one"),
			assign(service("dns", shares("q", "UDP/53")), `pending: no available IPs in pool "one" for IPv4`),
			assign(service("ntp", asks("192.0.2.1"), shares("q", "UDP/123")), `pending: can't share "192.0.2.1" with default/web: the sharing keys differ`),
		}},
		{"an empty key shares with nobody", []step{
			one,
			assign(service("web", shares("", "TCP/80")), "given 192.0.2.1 from one"),
			assign(service("dns", shares("", "UDP/53"), asks("192.0.2.1")), `pending: can't share "192.0.2.1" with default/web: it is in use and not shared`),
		}},
		{"equal keys on one port do not share", []step{
			one,
			assign(service("web", shares("k", "TCP/80", "TCP/443")), "given 192.0.2.1 from one"),
			assign(service("api", shares("k", "TCP/8080", "TCP/443"), asks("192.0.2.1")), `pending: can't share "192.0.2.1" with default/web: both want port TCP/443`),
		}},
		{"with externalTrafficPolicy Cluster the pods do not matter", []step{
			one,
			assign(service("web", shares("k", "TCP/80"), pods("app=web")), "given 192.0.2.1 from one"),
			assign(service("dns", shares("k", "UDP/53"), pods("app=dns")), "given 192.0.2.1 from one"),
		}},
		{"with externalTrafficPolicy Local only services of the same pods share", []step{
			one,
			assign(service("web", shares("k", "TCP/80"), local("app=web")), "given 192.0.2.1 from one"),
			assign(service("tls", shares("k", "TCP/443"), local("app=web")), "given 192.0.2.1 from one"),
			assign(service("dns", shares("k", "UDP/53"), local("app=dns"), asks("192.0.2.1")), `pending: can't share "192.0.2.1" with default/tls: externalTrafficPolicy Local shares only between equal pod selectors`),
		}},
		{"Local does not share with Cluster", []step{
			one,
			assign(service("web", shares("k", "TCP/80"), local("app=web")), "given 192.0.2.1 from one"),
			assign(service("dns", shares("k", "UDP/53"), pods("app=web")), `pending: no available IPs in pool "one" for IPv4`),
		}},
		{"Local without a selector shares with Cluster", []step{
			one,
			assign(service("web", shares("k", "TCP/80"), local("")), "given 192.0.2.1 from one"),
			assign(service("dns", shares("k", "UDP/53"), pods("app=dns")), "given 192.0.2.1 from one"),
		}},
		{"the first address that is free or can be shared is taken, whichever comes first", []step{
			four,
			assign(service("shy"), "given 192.0.2.1 from four"),
			assign(service("web", shares("k", "TCP/80")), "given 192.0.2.2 from four"),
			assign(service("dns", shares("k", "UDP/53")), "given 192.0.2.2 from four"),
			release("shy"),
			assign(service("ntp", shares("k", "UDP/123")), "given 192.0.2.1 from four"),
			assign(service("ftp", shares("k", "TCP/21")), "given 192.0.2.1 from four"),
		}},
		{"the lowest of several that can be shared is taken", []step{
			four,
			assign(service("c", shares("k", "TCP/80"), asks("192.0.2.3")), "given 192.0.2.3 from four"),
			assign(service("b", shares("k", "TCP/80"), asks("192.0.2.2")), "given 192.0.2.2 from four"),
			assign(service("a"), "given 192.0.2.1 from four"),
			assign(service("d", shares("k", "TCP/81")), "given 192.0.2.2 from four"),
		}},
		{"a shared address is free when the last holder has gone", []step{
			one,
			assign(service("web", shares("k", "TCP/80")), "given 192.0.2.1 from one"),
			assign(service("dns", shares("k", "UDP/53")), "given 192.0.2.1 from one"),
			release("web"),
			assign(service("shy"), `pending: no available IPs in pool "one" for IPv4`),
			release("dns"),
			woken("shy"),
			is("shy", "given 192.0.2.1 from one"),
		}},
		{"a sole holder changes its key in place", []step{
			four,
			assign(service("web", shares("k", "TCP/80")), "given 192.0.2.1 from four"),
			assign(service("web", shares("q", "TCP/80")), "keeps 192.0.2.1 from four"),
			assign(service("dns", shares("k", "UDP/53")), "given 192.0.2.2 from four"),
			assign(service("ntp", shares("q", "UDP/123")), "given 192.0.2.1 from four"),
		}},
		{"who shares and changes its key moves", []step{
			four,
			assign(service("web", shares("k", "TCP/80")), "given 192.0.2.1 from four"),
			assign(service("dns", shares("k", "UDP/53")), "given 192.0.2.1 from four"),
			assign(service("dns", shares("q", "UDP/53")), "given 192.0.2.2 from four; lost its own: 192.0.2.1 is held by default/web: the sharing keys differ"),
		}},
		{"who shares and turns to Local moves", []step{
			four,
			assign(service("web", shares("k", "TCP/80")), "given 192.0.2.1 from four"),
			assign(service("dns", shares("k", "UDP/53")), "given 192.0.2.1 from four"),
			assign(service("dns", shares("k", "UDP/53"), local("app=dns")), "given 192.0.2.2 from four; lost its own: 192.0.2.1 is held by default/web: externalTrafficPolicy Local shares only between equal pod selectors"),
		}},
		{"who shares and takes another's port moves", []step{
			four,
			assign(service("web", shares("k", "TCP/80")), "given 192.0.2.1 from four"),
			assign(service("dns", shares("k", "UDP/53")), "given 192.0.2.1 from four"),
			assign(service("dns", shares("k", "TCP/80")), "given 192.0.2.2 from four; lost its own: 192.0.2.1 is held by default/web: both want port TCP/80"),
		}},
		{"one who waits joins as soon as a holder takes its key", []step{
			one,
			assign(service("web"), "given 192.0.2.1 from one"),
			assign(service("dns", shares("k", "UDP/53")), `pending: no available IPs in pool "one" for IPv4`),
			assign(service("web", shares("k", "TCP/80")), "keeps 192.0.2.1 from one"),
			woken("dns"),
			is("dns", "given 192.0.2.1 from one"),
		}},
		{"one who waits joins as soon as a holder gives up its port", []step{
			one,
			assign(service("web", shares("k", "TCP/80", "UDP/53")), "given 192.0.2.1 from one"),
			assign(service("dns", shares("k", "UDP/53")), `pending: no available IPs in pool "one" for IPv4`),
			assign(service("web", shares("k", "TCP/80")), "keeps 192.0.2.1 from one"),
			woken("dns"),
		}},
	})
}

func TestFamilies(t *testing.T) {
	both := pool("both", "2001:db8::1-2001:db8::2", "192.0.2.1-192.0.2.2")
	four := pool("four", "198.51.100.1-198.51.100.2")
	six := pool("six", "2001:db8:6::1-2001:db8:6::2")
	tell(t, []story{
		{"a single-stack service gets an address of its cluster IP's family", []step{
			pools(both),
			assign(service("web"), "given 192.0.2.1 from both"),
			assign(service("api", ipv6()), "given 2001:db8::1 from both"),
		}},
		{"a dual-stack service gets IPv4, then IPv6, whatever its own order", []step{
			pools(both),
			assign(service("web", dual(lb.RequireDualStack)), "given 192.0.2.1,2001:db8::1 from both"),
			assign(service("api", clusterIPs(lb.RequireDualStack, "fd00::11", "10.96.0.11")), "given 192.0.2.2,2001:db8::2 from both"),
		}},
		{"RequireDualStack takes both from one pool or nothing", []step{
			pools(four, six),
			assign(service("web", dual(lb.RequireDualStack)), `pending: no available IPs in pools "four", "six" for IPv4 and IPv6`),
			pools(four, six, both),
			assign(service("web", dual(lb.RequireDualStack)), "given 192.0.2.1,2001:db8::1 from both"),
		}},
		{"RequireDualStack with one cluster IP is refused and cleared", []step{
			pools(both),
			assign(service("web"), "given 192.0.2.1 from both"),
			assign(service("web", clusterIPs(lb.RequireDualStack, "10.96.0.10")), "not enough clusterips: ipFamilyPolicy RequireDualStack needs a cluster IP of each family; lost its own: ipFamilyPolicy RequireDualStack needs a cluster IP of each family"),
			assign(service("api"), "given 192.0.2.1 from both"),
		}},
		{"a service without a cluster IP is refused and cleared", []step{
			pools(both),
			assign(service("web", clusterIPs(lb.SingleStack), holds("192.0.2.1")), "noclusterIPsIPFamily: the service has no cluster IP that names its IP family; lost its own: the service has no cluster IP that names its IP family"),
			assign(service("api"), "given 192.0.2.1 from both"),
		}},
		{"PreferDualStack takes both from the first pool that has both", []step{
			pools(four, both),
			assign(service("web", dual(lb.PreferDualStack)), "given 192.0.2.1,2001:db8::1 from both"),
		}},
		{"PreferDualStack takes the primary family where no pool has both", []step{
			pools(four, six),
			assign(service("web", dual(lb.PreferDualStack)), "given 198.51.100.1 from four"),
			assign(service("api", clusterIPs(lb.PreferDualStack, "fd00::11", "10.96.0.11")), "given 2001:db8:6::1 from six"),
		}},
		{"PreferDualStack takes the secondary family where nothing else is left", []step{
			pools(six),
			assign(service("web", dual(lb.PreferDualStack)), "given 2001:db8:6::1 from six"),
		}},
		{"PreferDualStack with one cluster IP is single-stack and stays so", []step{
			pools(both),
			assign(service("web", clusterIPs(lb.PreferDualStack, "10.96.0.10")), "given 192.0.2.1 from both"),
			assign(service("web", clusterIPs(lb.PreferDualStack, "10.96.0.10")), "keeps 192.0.2.1 from both"),
		}},
		{"PreferDualStack says that the other family is not to be had, and goes on asking", []step{
			pools(pool("tight", "192.0.2.1-192.0.2.2", "2001:db8::1")),
			assign(service("six", ipv6()), "given 2001:db8::1 from tight"),
			assign(service("web", dual(lb.PreferDualStack)), "given 192.0.2.1 from tight"),
			assign(service("web", dual(lb.PreferDualStack)), `keeps 192.0.2.1 from tight, but AdditionalAssignFailed: pool "tight" has no free IPv6 address to add to 192.0.2.1`),
			release("six"),
			woken("web"),
			is("web", "given 192.0.2.1,2001:db8::1 from tight"),
		}},
		{"PreferDualStack never leaves its pool to become dual-stack", []step{
			pools(four),
			assign(service("web", dual(lb.PreferDualStack)), "given 198.51.100.1 from four"),
			pools(both, four, six),
			assign(service("web", dual(lb.PreferDualStack)), `keeps 198.51.100.1 from four, but AdditionalAssignFailed: pool "four" has no free IPv6 address to add to 198.51.100.1`),
		}},
		{"a service that becomes dual-stack keeps its address and gets the other", []step{
			pools(both),
			assign(service("shy"), "given 192.0.2.1 from both"),
			assign(service("web"), "given 192.0.2.2 from both"),
			assign(service("web", dual(lb.PreferDualStack)), "given 192.0.2.2,2001:db8::1 from both"),
		}},
		{"a service that must become dual-stack leaves a pool that has one family only", []step{
			pools(four, both),
			assign(service("web"), "given 198.51.100.1 from four"),
			assign(service("web", dual(lb.RequireDualStack)), `given 192.0.2.1,2001:db8::1 from both; lost its own: pool "four" has no free IPv6 address to add to 198.51.100.1`),
		}},
		{"a service that becomes single-stack keeps the address of the family that stays", []step{
			pools(both),
			assign(service("web", dual(lb.RequireDualStack)), "given 192.0.2.1,2001:db8::1 from both"),
			assign(service("web", ipv6()), "keeps 2001:db8::1 from both; lost its own: the cluster IP fd00::10 needs one address only"),
			assign(service("api"), "given 192.0.2.1 from both"),
		}},
		{"an address of a family that is not needed any more does not cost the other", []step{
			pools(both),
			assign(service("web", dual(lb.RequireDualStack)), "given 192.0.2.1,2001:db8::1 from both"),
			pools(pool("both", "2001:db8::1-2001:db8::2", "192.0.2.2")),
			assign(service("web", ipv6()), "keeps 2001:db8::1 from both; lost its own: the cluster IP fd00::10 needs one address only"),
		}},
		{"a service whose family changes gets an address of the new one", []step{
			pools(both),
			assign(service("web"), "given 192.0.2.1 from both"),
			assign(service("web", ipv6()), "given 2001:db8::1 from both; lost its own: its IP family is not that of the cluster IP fd00::10"),
		}},
		{"two addresses of one family are not kept", []step{
			pools(both),
			assign(service("web", holds("192.0.2.1", "192.0.2.2")), "keeps 192.0.2.1 from both; lost its own: a service holds one address of each family"),
		}},
		{"a pool that loses a family loses its dual-stack services", []step{
			pools(both),
			assign(service("shy"), "given 192.0.2.1 from both"),
			assign(service("web", dual(lb.PreferDualStack)), "given 192.0.2.2,2001:db8::1 from both"),
			pools(pool("both", "192.0.2.1-192.0.2.2"), pool("other", "203.0.113.1", "2001:db8:7::1")),
			assign(service("shy"), "keeps 192.0.2.1 from both"),
			assign(service("web", dual(lb.PreferDualStack)), "given 203.0.113.1,2001:db8:7::1 from other; lost its own: 2001:db8::1 is in no pool"),
		}},
	})
}

func TestChoiceOfPool(t *testing.T) {
	open := pool("open", "192.0.2.1-192.0.2.2")
	prod := pool("prod", "198.51.100.1")
	vip := pool("vip", "203.0.113.1")
	tell(t, []story{
		{"pools are tried in the order given", []step{
			pools(prod, open),
			assign(service("a"), "given 198.51.100.1 from prod"),
			assign(service("b"), "given 192.0.2.1 from open"),
		}},
		{"a pool pinned to the service comes before those open to all", []step{
			pools(open, with(prod, pinnedTo("prod"))),
			assign(service("prod/web"), "given 198.51.100.1 from prod"),
			assign(service("prod/api"), "given 192.0.2.1 from open"),
		}},
		{"being pinned weighs more than having both families", []step{
			pools(pool("both", "192.0.2.1", "2001:db8::1"), with(prod, pinnedTo("prod"))),
			assign(service("prod/web", dual(lb.PreferDualStack)), "given 198.51.100.1 from prod"),
		}},
		{"of the pinned pools the first that can give wins", []step{
			pools(with(vip, pinnedTo("prod")), with(prod, pinnedTo("prod", "test")), open),
			assign(service("prod/a"), "given 203.0.113.1 from vip"),
			assign(service("prod/b"), "given 198.51.100.1 from prod"),
			assign(service("prod/c"), "given 192.0.2.1 from open"),
		}},
		{"an empty serviceAllocation pins the pool to every service", []step{
			pools(open, with(prod, pinnedToNobodyInParticular)),
			assign(service("web"), "given 198.51.100.1 from prod"),
		}},
		{"a selector pins by the service's labels", []step{
			pools(open, with(prod, pinnedToLabel("tier=front"))),
			assign(service("back", tier("back")), "given 192.0.2.1 from open"),
			assign(service("front", tier("front")), "given 198.51.100.1 from prod"),
		}},
		{"namespace and selector must both match", []step{
			pools(with(prod, pinnedToLabel("tier=front", "prod"))),
			assign(service("test/front", tier("front")), "pending: no pool is open to the service: none that assigns automatically accepts it"),
			assign(service("prod/back", tier("back")), "pending: no pool is open to the service: none that assigns automatically accepts it"),
			assign(service("prod/front", tier("front")), "given 198.51.100.1 from prod"),
		}},
		{"a pinned pool serves no other service, not even on request", []step{
			pools(with(prod, pinnedTo("prod"))),
			assign(service("web", asksPool("prod")), "pending: pool prod not compatible for ip assignment: its serviceAllocation does not select the service"),
			assign(service("api", asks("198.51.100.1")), "pending: pool prod not compatible for ip assignment: its serviceAllocation does not select the service"),
		}},
		{"a pinned pool that does not assign automatically is not tried", []step{
			pools(with(prod, pinnedTo("prod"), onRequestOnly), open),
			assign(service("prod/web"), "given 192.0.2.1 from open"),
			assign(service("prod/api", asksPool("prod")), "given 198.51.100.1 from prod"),
		}},
		{"a service that a pool is no longer pinned to moves", []step{
			pools(open, with(prod, pinnedToLabel("tier=front"))),
			assign(service("web", tier("front")), "given 198.51.100.1 from prod"),
			assign(service("web", tier("back")), "given 192.0.2.1 from open; lost its own: pool prod not compatible for ip assignment: its serviceAllocation does not select the service"),
		}},
		{"a service that a better pool is now open to stays", []step{
			pools(open),
			assign(service("prod/web"), "given 192.0.2.1 from open"),
			pools(with(prod, pinnedTo("prod")), open),
			assign(service("prod/web"), "keeps 192.0.2.1 from open"),
		}},
		{"a holder stays in a pool that no longer assigns automatically", []step{
			pools(open),
			assign(service("web"), "given 192.0.2.1 from open"),
			pools(with(open, onRequestOnly)),
			assign(service("web"), "keeps 192.0.2.1 from open"),
		}},
	})
}

func TestChoiceOfAddress(t *testing.T) {
	tell(t, []story{
		{"ranges are used in the order given, each from its lowest address", []step{
			pools(pool("blue", "192.0.2.8-192.0.2.9", "192.0.2.1-192.0.2.2")),
			assign(service("a"), "given 192.0.2.8 from blue"),
			assign(service("b"), "given 192.0.2.9 from blue"),
			assign(service("c"), "given 192.0.2.1 from blue"),
			assign(service("d"), "given 192.0.2.2 from blue"),
			assign(service("e"), `pending: no available IPs in pool "blue" for IPv4`),
		}},
		{"an address let go of is given to the next who comes", []step{
			pools(pool("blue", "192.0.2.1-192.0.2.9")),
			assign(service("a"), "given 192.0.2.1 from blue"),
			assign(service("b"), "given 192.0.2.2 from blue"),
			assign(service("c"), "given 192.0.2.3 from blue"),
			release("b"),
			release("a"),
			assign(service("d"), "given 192.0.2.1 from blue"),
			assign(service("e"), "given 192.0.2.2 from blue"),
			assign(service("f"), "given 192.0.2.4 from blue"),
		}},
		{"addresses taken on request are skipped", []step{
			pools(pool("blue", "192.0.2.1-192.0.2.9")),
			assign(service("a", asks("192.0.2.2")), "given 192.0.2.2 from blue"),
			assign(service("b"), "given 192.0.2.1 from blue"),
			assign(service("c"), "given 192.0.2.3 from blue"),
			release("a"),
			assign(service("d"), "given 192.0.2.2 from blue"),
		}},
		{"the first and last address of a network are handed out like any other", []step{
			pools(pool("blue", "192.0.2.0-192.0.2.0", "192.0.2.255-192.0.2.255")),
			assign(service("a"), "given 192.0.2.0 from blue"),
			assign(service("b"), "given 192.0.2.255 from blue"),
		}},
		{"avoidBuggyIPs skips .0 and .255", []step{
			pools(with(pool("blue", "192.0.2.254-192.0.3.1"), avoidingBuggyIPs)),
			assign(service("a"), "given 192.0.2.254 from blue"),
			assign(service("b"), "given 192.0.3.1 from blue"),
			assign(service("c"), `pending: no available IPs in pool "blue" for IPv4`),
		}},
		{"avoidBuggyIPs refuses .0 and .255 even on request", []step{
			pools(with(pool("blue", "192.0.2.254-192.0.3.1"), avoidingBuggyIPs)),
			assign(service("a", asks("192.0.2.255")), `pending: "192.0.2.255" is not allowed in config: pool "blue" withholds addresses that end in .0 or .255`),
		}},
		{"avoidBuggyIPs does not concern IPv6", []step{
			pools(with(pool("blue", "2001:db8::-2001:db8::1"), avoidingBuggyIPs)),
			assign(service("a", ipv6()), "given 2001:db8:: from blue"),
		}},
		{"avoidBuggyIPs, turned on, moves who holds such an address", []step{
			pools(pool("blue", "192.0.2.0-192.0.2.9")),
			assign(service("a"), "given 192.0.2.0 from blue"),
			pools(with(pool("blue", "192.0.2.0-192.0.2.9"), avoidingBuggyIPs)),
			assign(service("a"), `given 192.0.2.1 from blue; lost its own: pool "blue" withholds 192.0.2.0, which ends in .0 or .255`),
		}},
		{"the very last addresses there are can be handed out", []step{
			pools(pool("edge", "255.255.255.254-255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
			assign(service("a"), "given 255.255.255.254 from edge"),
			assign(service("b"), "given 255.255.255.255 from edge"),
			assign(service("c"), `pending: no available IPs in pool "edge" for IPv4`),
			assign(service("d", ipv6()), "given ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff from edge"),
			release("b"),
			woken("c"),
		}},
	})
}

func TestChangesOfPools(t *testing.T) {
	blue := pool("blue", "192.0.2.1-192.0.2.3")
	tell(t, []story{
		{"a service whose address is in no pool any more moves", []step{
			pools(blue),
			assign(service("a"), "given 192.0.2.1 from blue"),
			pools(pool("blue", "192.0.2.2-192.0.2.3")),
			assign(service("a"), "given 192.0.2.2 from blue; lost its own: 192.0.2.1 is in no pool"),
		}},
		{"without a pool left it has nothing", []step{
			pools(blue),
			assign(service("a"), "given 192.0.2.1 from blue"),
			pools(),
			assign(service("a"), "pending: there is no IPAddressPool; lost its own: 192.0.2.1 is in no pool"),
		}},
		{"an address whose pool is renamed is kept under the new name", []step{
			pools(blue),
			assign(service("a"), "given 192.0.2.1 from blue"),
			pools(pool("navy", "192.0.2.1-192.0.2.3")),
			assign(service("a"), "keeps 192.0.2.1 from navy"),
		}},
		{"who asks for the old name loses the address", []step{
			pools(blue),
			assign(service("a", asksPool("blue")), "given 192.0.2.1 from blue"),
			pools(pool("navy", "192.0.2.1-192.0.2.3")),
			assign(service("a", asksPool("blue")), `pending: unknown pool "blue"; lost its own: the service asks for pool "blue"`),
		}},
		{"holders who must move are served before those who never held anything", []step{
			pools(pool("old", "192.0.2.1-192.0.2.2")),
			assign(service("a", born(2)), "given 192.0.2.1 from old"),
			assign(service("b", born(3)), "given 192.0.2.2 from old"),
			assign(service("w", born(1)), `pending: no available IPs in pool "old" for IPv4`),
			pools(pool("new", "198.51.100.1-198.51.100.2")),
			assign(service("a", born(2)), "given 198.51.100.1 from new; lost its own: 192.0.2.1 is in no pool"),
			assign(service("b", born(3)), "given 198.51.100.2 from new; lost its own: 192.0.2.2 is in no pool"),
			assign(service("w", born(1)), `pending: no available IPs in pool "new" for IPv4`),
			woken(),
		}},
		{"while a pool is invalid, an address in no pool is kept", []step{
			poolsAndAnInvalidOne(blue),
			assign(service("a", holdsFromLost("203.0.113.1")), "keeps 203.0.113.1 from lost"),
			assign(service("b", dual(lb.PreferDualStack), holdsFromLost("203.0.113.2")), "keeps 203.0.113.2 from lost"),
			assign(service("c", asksPool("lost"), holdsFromLost("203.0.113.3")), "keeps 203.0.113.3 from lost"),
			assign(service("d", asks("203.0.113.4"), holdsFromLost("203.0.113.4")), "keeps 203.0.113.4 from lost"),
		}},
		{"while the only pool is invalid, addresses are kept", []step{
			poolsAndAnInvalidOne(),
			assign(service("a", holdsFromLost("203.0.113.1")), "keeps 203.0.113.1 from lost"),
			assign(service("b"), "pending: there is no IPAddressPool"),
		}},
		{"while a pool is invalid, a request for it takes nothing away", []step{
			poolsAndAnInvalidOne(blue),
			assign(service("a", asksPool("lost"), holds("192.0.2.1")), "keeps 192.0.2.1 from blue"),
			assign(service("b", asks("203.0.113.4"), holds("192.0.2.2")), "keeps 192.0.2.2 from blue"),
			assign(service("c", asksPool("lost")), `pending: unknown pool "lost"`),
		}},
		{"while a pool is invalid, the others' rules hold", []step{
			poolsAndAnInvalidOne(with(blue, pinnedTo("prod")), with(pool("nil", "198.51.100.0-198.51.100.1"), avoidingBuggyIPs)),
			assign(service("a", holds("192.0.2.1")), "given 198.51.100.1 from nil; lost its own: pool blue not compatible for ip assignment: its serviceAllocation does not select the service"),
			assign(service("b", holds("198.51.100.0")), `pending: no available IPs in pool "nil" for IPv4; lost its own: pool "nil" withholds 198.51.100.0, which ends in .0 or .255`),
			assign(service("c", asksPool("blue"), holds("203.0.113.3")), `pending: pool blue not compatible for ip assignment: its serviceAllocation does not select the service; lost its own: the service asks for pool "blue"`),
		}},
		{"while a pool is invalid, an address in no pool is still one service's", []step{
			poolsAndAnInvalidOne(blue),
			assign(service("a", holdsFromLost("203.0.113.1")), "keeps 203.0.113.1 from lost"),
			assign(service("b", holdsFromLost("203.0.113.1")), "given 192.0.2.1 from blue; lost its own: 203.0.113.1 is held by default/a: it is in use and not shared"),
		}},
		{"when the pool is valid again everybody is where it was", []step{
			poolsAndAnInvalidOne(blue),
			assign(service("a", holdsFromLost("203.0.113.1")), "keeps 203.0.113.1 from lost"),
			pools(blue, pool("lost", "203.0.113.1-203.0.113.2")),
			assign(service("b", asksPool("lost")), "given 203.0.113.2 from lost"),
			assign(service("a"), "keeps 203.0.113.1 from lost"),
		}},
	})
}

func TestRestart(t *testing.T) {
	blue := pool("blue", "192.0.2.1-192.0.2.3", "2001:db8::1-2001:db8::3")
	a := service("a", born(1), holds("192.0.2.9"))
	b := service("b", born(2), holds("192.0.2.1"))
	tell(t, []story{
		{"a service keeps what its status shows", []step{
			pools(blue),
			assign(service("a", holds("192.0.2.3")), "keeps 192.0.2.3 from blue"),
			assign(service("b", dual(lb.RequireDualStack), holds("2001:db8::2", "192.0.2.2")), "keeps 2001:db8::2,192.0.2.2 from blue"),
		}},
		{"one that must move is not given what another holds", []step{
			pools(blue),
			restart(a, b),
			assign(a, "given 192.0.2.2 from blue; lost its own: 192.0.2.9 is in no pool"),
			assign(b, "keeps 192.0.2.1 from blue"),
		}},
		{"one that gets its second address is not given what another holds", []step{
			pools(blue),
			restart(service("a", dual(lb.PreferDualStack), holds("192.0.2.1")), service("b", ipv6(), holds("2001:db8::1"))),
			assign(service("a", dual(lb.PreferDualStack), holds("192.0.2.1")), "given 192.0.2.1,2001:db8::2 from blue"),
			assign(service("b", ipv6(), holds("2001:db8::1")), "keeps 2001:db8::1 from blue"),
		}},
		{"of two that may not share what both show, the older keeps it", []step{
			pools(blue),
			restart(service("young", born(2), holds("192.0.2.1")), service("old", born(1), holds("192.0.2.1"))),
			assign(service("young", born(2), holds("192.0.2.1")), "given 192.0.2.2 from blue; lost its own: 192.0.2.1 is held by default/old: it is in use and not shared"),
			assign(service("old", born(1), holds("192.0.2.1")), "keeps 192.0.2.1 from blue"),
		}},
		{"restoring takes nothing from services that the ledger knows", []step{
			pools(blue),
			assign(service("a", asks("192.0.2.3")), "given 192.0.2.3 from blue"),
			func(_ *testing.T, c *cluster) { c.ledger.Restore([]lb.Service{service("a", holds("192.0.2.1"))}) },
			assign(service("b"), "given 192.0.2.1 from blue"),
			assign(service("a", asks("192.0.2.3")), "keeps 192.0.2.3 from blue"),
		}},
	})
}

func TestStatusThatLagsBehind(t *testing.T) {
	blue := pool("blue", "192.0.2.1-192.0.2.3", "2001:db8::1-2001:db8::3")
	tell(t, []story{
		{"an assignment that is not written yet stands", []step{
			pools(blue),
			assign(service("x"), "given 192.0.2.1 from blue"),
			assignUnwritten(service("web"), "given 192.0.2.2 from blue"),
			release("x"),
			assignUnwritten(service("web"), "given 192.0.2.2 from blue"),
		}},
		{"a second address that is not written yet stands", []step{
			pools(blue),
			assign(service("x", ipv6()), "given 2001:db8::1 from blue"),
			assign(service("web"), "given 192.0.2.1 from blue"),
			assignUnwritten(service("web", dual(lb.PreferDualStack), holds("192.0.2.1")), "given 192.0.2.1,2001:db8::2 from blue"),
			release("x"),
			assignUnwritten(service("web", dual(lb.PreferDualStack), holds("192.0.2.1")), "given 192.0.2.1,2001:db8::2 from blue"),
		}},
		{"a service made anew under its name inherits nothing, and those who waited come first", []step{
			pools(pool("one", "192.0.2.1")),
			assign(service("web"), "given 192.0.2.1 from one"),
			assign(service("api"), `pending: no available IPs in pool "one" for IPv4`),
			assign(service("web", uid("another")), `pending: no available IPs in pool "one" for IPv4`),
			woken("api"),
		}},
	})
}

func TestWaiting(t *testing.T) {
	one := pool("one", "192.0.2.1")
	none := `pending: no available IPs in pool "one" for IPv4`
	tell(t, []story{
		{"the oldest who waits is served first", []step{
			pools(one),
			assign(service("first"), "given 192.0.2.1 from one"),
			assign(service("young", born(3)), none),
			assign(service("old", born(1)), none),
			assign(service("middle", born(2)), none),
			release("first"),
			woken("old"),
			release("old"),
			woken("middle"),
			release("middle"),
			woken("young"),
		}},
		{"of the same age, the first by name is served first", []step{
			pools(one),
			assign(service("x"), "given 192.0.2.1 from one"),
			assign(service("b"), none),
			assign(service("a"), none),
			release("x"),
			woken("a"),
		}},
		{"one that has gone is not served", []step{
			pools(one),
			assign(service("first"), "given 192.0.2.1 from one"),
			assign(service("a", born(1)), none),
			assign(service("b", born(2)), none),
			release("a"),
			release("first"),
			woken("b"),
		}},
		{"one that stopped asking is not served", []step{
			pools(one),
			assign(service("first"), "given 192.0.2.1 from one"),
			assign(service("a"), none),
			assign(service("a", asksPool("gone")), `pending: unknown pool "gone"`),
			release("first"),
			woken(),
		}},
		{"one who asks for an address by name gets it as soon as it is free", []step{
			pools(pool("two", "192.0.2.1-192.0.2.2")),
			assign(service("x"), "given 192.0.2.1 from two"),
			assign(service("y"), "given 192.0.2.2 from two"),
			assign(service("web", asks("192.0.2.2")), `pending: can't share "192.0.2.2" with default/y: it is in use and not shared`),
			release("x"),
			woken(),
			release("y"),
			woken("web"),
			is("web", "given 192.0.2.2 from two"),
		}},
		{"what a service leaves by moving is given on", []step{
			pools(one, pool("two", "192.0.2.2")),
			assign(service("x"), "given 192.0.2.1 from one"),
			assign(service("web", asksPool("one")), none),
			assign(service("x", asksPool("two")), `given 192.0.2.2 from two; lost its own: the service asks for pool "two"`),
			woken("web"),
		}},
		{"two addresses let go of at once go to the oldest who can use either", []step{
			pools(pool("both", "192.0.2.1", "2001:db8::1")),
			assign(service("x", dual(lb.RequireDualStack)), "given 192.0.2.1,2001:db8::1 from both"),
			assign(service("dual", born(2), dual(lb.RequireDualStack)), `pending: no available IPs in pool "both" for IPv4 and IPv6`),
			assign(service("six", born(1), ipv6()), `pending: no available IPs in pool "both" for IPv6`),
			assign(service("four", born(3)), `pending: no available IPs in pool "both" for IPv4`),
			release("x"),
			woken("six", "four"),
		}},
		{"an older one that cannot use what is free holds up nobody", []step{
			pools(pool("both", "192.0.2.1", "2001:db8::1")),
			assign(service("x"), "given 192.0.2.1 from both"),
			assign(service("y", ipv6()), "given 2001:db8::1 from both"),
			assign(service("old", born(1), dual(lb.RequireDualStack)), `pending: no available IPs in pool "both" for IPv4 and IPv6`),
			assign(service("young", born(2)), `pending: no available IPs in pool "both" for IPv4`),
			release("x"),
			woken("young"),
		}},
		{"several who may share are served at once", []step{
			pools(one),
			assign(service("x"), "given 192.0.2.1 from one"),
			assign(service("a", shares("k", "TCP/1")), none),
			assign(service("b", shares("q", "TCP/2")), none),
			assign(service("c", shares("k", "TCP/3")), none),
			release("x"),
			woken("a", "c"),
		}},
	})
}

// The messages are those of the events that people read.
func TestMessages(t *testing.T) {
	both := pool("both", "192.0.2.1-192.0.2.2", "2001:db8::1")
	cases := []struct {
		name string
		svc  lb.Service
		want lb.Decision
	}{
		{"of an assignment", service("web"), lb.Decision{
			Addresses: addrs("192.0.2.1"), Pool: "both",
			Reason: lb.IPAllocated, Message: `Assigned IP ["192.0.2.1"]`,
		}},
		{"of an assignment of both families", service("web", dual(lb.RequireDualStack)), lb.Decision{
			Addresses: addrs("192.0.2.1", "2001:db8::1"), Pool: "both",
			Reason: lb.IPAllocated, Message: `Assigned IP ["192.0.2.1" "2001:db8::1"]`,
		}},
		{"of the second address of a dual-stack service", service("web", dual(lb.PreferDualStack), holds("192.0.2.2")), lb.Decision{
			Addresses: addrs("192.0.2.2", "2001:db8::1"), Pool: "both",
			Reason: lb.IPAllocated, Message: `Assigned additional IP ["2001:db8::1"]`,
		}},
		{"of an address kept there is none", service("web", holds("192.0.2.2")), lb.Decision{
			Addresses: addrs("192.0.2.2"), Pool: "both", Reason: lb.IPKept,
		}},
		{"of a failure", service("web", asksPool("none")), lb.Decision{
			Reason: lb.AllocationFailed, Message: `Failed to allocate IP for "default/web": unknown pool "none"`,
		}},
		{"of a loss", service("web", holds("203.0.113.1")), lb.Decision{
			Addresses: addrs("192.0.2.1"), Pool: "both",
			Reason: lb.IPAllocated, Message: `Assigned IP ["192.0.2.1"]`,
			Cleared: "203.0.113.1 may no longer be held: 203.0.113.1 is in no pool",
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := ipam.NewLedger()
			l.SetPools([]lb.Pool{both}, false)
			if got := l.Assign(c.svc); !got.Equal(c.want) {
				t.Errorf("got %+v\nwant %+v", got, c.want)
			}
		})
	}
}
