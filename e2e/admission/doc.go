// Package admission runs two replicas of the controller in a lab and changes the configuration as users do, by kubectl: what
// is refused and what is warned of, under which certificates, and what becomes of it while no controller is there.
package admission
