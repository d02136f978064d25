package webhook

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/config"
)

// completed adds stand-ins for what the objects name and does not exist: BFDProfiles,
// Secrets, and aliases of communities. They may come later. What does exist is
// taken as it is, but for Secrets, which the controller may not read.
func completed(world config.Objects) config.Objects {
	world.Secrets, world.BFDProfiles = nil, slices.Clone(world.BFDProfiles)
	for i := range world.Peers {
		spec := &world.Peers[i].Spec
		if name := spec.PasswordSecret.Name; name != "" {
			world.Secrets = append(world.Secrets, config.Secret{Name: name, Type: string(corev1.SecretTypeBasicAuth), Password: "unknown"})
		}
		if name := spec.BFDProfile; name != "" && !slices.ContainsFunc(world.BFDProfiles, func(p v1beta1.BFDProfile) bool { return p.Name == name }) {
			var profile v1beta1.BFDProfile
			profile.Name = name
			world.BFDProfiles = append(world.BFDProfiles, profile)
		}
	}
	world.Communities = append(slices.Clone(world.Communities), missingAliases(world))
	return world
}

// missingAliases defines those that advertisements use, and nobody else defines.
func missingAliases(world config.Objects) v1beta1.Community {
	known := map[string]bool{}
	for i := range world.Communities {
		for _, alias := range world.Communities[i].Spec.Communities {
			known[alias.Name] = true
		}
	}
	var missing v1beta1.Community
	for i := range world.BGPAdvertisements {
		for _, text := range world.BGPAdvertisements[i].Spec.Communities {
			if !known[text] && !strings.Contains(text, ":") {
				known[text] = true
				missing.Spec.Communities = append(missing.Spec.Communities, v1beta1.CommunityAlias{Name: text, Value: "0:0"})
			}
		}
	}
	return missing
}
