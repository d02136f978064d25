// Package upgrade replaces one version of Herald by another and back, by applying the other's manifest, while clients on the
// LAN and behind a router open connections all the time and Services are created.
package upgrade
