// Package chaos breaks a cluster again and again while people use it, and looks whether Herald keeps its promises.
//
// Users create, change and delete Services. Faults happen in acts, one or several at the same time. After each act all is
// mended, the users pause, and a judge holds what the API server says against what a neighbour on the LAN hears and what a
// router has learned. The judge shares no code with Herald: it knows the rules as users know them.
//
// What happens is drawn from a seed, so that the same acts can be played again. When things happen is not: programs take
// their time.
package chaos
