package config

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/lb"
)

// references are what peers and advertisements refer to by name.
type references struct {
	communities map[string]community
	// profiles are all that exist, nil where they have a problem.
	profiles map[string]*lb.BFDProfile
	secrets  map[string]Secret
	// before is what there was when an object was last valid: it stands in for what is
	// missing now.
	before *references
}

// or returns the references with something to stand in for what is missing, which may
// be nothing.
func (r references) or(before references) references {
	r.before = &before
	return r
}

// lookup finds something among what there is, else among what there was.
func lookup[T any](r references, find func(references) (T, error)) (T, error) {
	found, err := find(r)
	if err == nil {
		return found, nil
	}
	if old, oldErr := find(*r.before); oldErr == nil {
		return old, nil
	}
	return found, err
}

// community resolves what an advertisement calls a community: the community itself, an
// alias, or a name of IANA's, in this order.
func (r references) community(text string) (community, error) {
	return lookup(r, func(r references) (community, error) {
		c, err := parseCommunity(text)
		if err == nil {
			return c, nil
		}
		if alias, ok := r.communities[text]; ok {
			return alias, nil
		}
		if standard, ok := wellKnown[text]; ok {
			return community{standard: standard}, nil
		}
		return c, err
	})
}

// profile resolves a peer's BFD profile.
func (r references) profile(peer, name string) (*lb.BFDProfile, error) {
	return lookup(r, func(r references) (*lb.BFDProfile, error) {
		p, exists := r.profiles[name]
		switch {
		case !exists:
			return nil, fmt.Errorf("peer %s referencing non existing bfd profile %s", peer, name)
		case p == nil:
			return nil, fmt.Errorf("peer %s referencing invalid bfd profile %s", peer, name)
		}
		return p, nil
	})
}

// password resolves a peer's passwordSecret. Users' tests compare the first two of the
// errors to the letter, with the space at a line's end.
func (r references) password(peer v1beta2.BGPPeer) (lb.Secret, error) {
	name := peer.Spec.PasswordSecret.Name
	return lookup(r, func(r references) (lb.Secret, error) {
		s, exists := r.secrets[name]
		var why string
		switch {
		case !exists:
			why = fmt.Sprintf("secret ref not found for peer config %q/%q", peer.Namespace, peer.Name)
		case s.Type != string(corev1.SecretTypeBasicAuth):
			why = fmt.Sprintf("secret type mismatch on %q/%q, type %q is expected ", peer.Namespace, name, corev1.SecretTypeBasicAuth)
		case s.Password == "":
			why = fmt.Sprintf("secret %q/%q has no key %q", peer.Namespace, name, corev1.BasicAuthPasswordKey)
		default:
			return s.Password, nil
		}
		return "", fmt.Errorf("parsing peer %s %s\nfailed to parse peer %[1]s password secret", peer.Name, why)
	})
}

func secretsByName(secrets []Secret) map[string]Secret {
	out := map[string]Secret{}
	for _, s := range secrets {
		out[s.Name] = s
	}
	return out
}
