// Package suite is Herald's end-to-end tests: on a real cluster, installed by the manifest that users apply and by
// nothing else, seen from where users and their clients stand. They take root:
//
//	go test -tags e2e ./suite
//	go test -tags e2e ./suite -keep -run TestSpeaker    # use a lab again that an earlier run has kept
package suite
