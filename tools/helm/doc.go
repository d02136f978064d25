// Package helm pins Helm, and has the tests of Herald's chart. Both are in a module of their own: Helm brings some hundred
// modules with it.
package helm
