// Package bgp tests Herald's BGP end to end: against FRR and BIRD on the lab's routers, and against peers that are up to no
// good. What counts is what the routers received, and which way clients behind them get.
package bgp
