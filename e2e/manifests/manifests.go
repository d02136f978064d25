// Package manifests holds what the demo, the benchmarks and the tests apply: YAML as a user would write it.
package manifests

import _ "embed"

// Pool is the configuration: addresses of the lab's LAN, announced there.
//
//go:embed pool.yaml
var Pool string

// Web is a Deployment of three pods that answer with their names.
//
//go:embed web.yaml
var Web string

// Service brings Web an address of each family.
//
//go:embed service.yaml
var Service string

// BGP is the configuration of what is announced to routers: a peer, watched by BFD, and addresses of their own.
//
//go:embed bgp.yaml
var BGP string

// ServiceBGP brings Web an address of each family from there.
//
//go:embed service-bgp.yaml
var ServiceBGP string
