// Package predecessor proves that Herald takes the place of what served the same API before it: under its roles and
// settings by changing the image names alone, and then in place by applying Herald's manifest.
package predecessor
