// Package packaging proves in a lab what Herald is delivered as: the Helm chart through its life (installed, upgraded, taken
// away, put over the manifest's installation), what Prometheus gets to see, and the images.
package packaging
