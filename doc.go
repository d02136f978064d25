// Package herald is the root of Herald, a load balancer for bare-metal Kubernetes clusters. It holds no code: the two
// programs are in controller/ and speaker/, their vocabulary in internal/lb, and ARCHITECTURE.md draws the map. The test
// beside this file keeps the packages' imports to that map.
package herald
