package kube

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

const (
	// secretsReread is how often Secrets are read again: nobody tells that one changed,
	// since who may watch one by a name that is not known beforehand may read them all.
	secretsReread = 10 * time.Second
	// secretPatience bounds the wait for a Secret that was not read before.
	secretPatience = time.Second
)

// Secrets reads the Secrets that BGPPeers name: each by its name, and no others.
type Secrets struct {
	logger    log.Logger
	reader    client.Reader
	namespace string
	changed   func()

	mu sync.Mutex
	// known are the Secrets by their names; one that does not exist has no type.
	known map[string]config.Secret
}

// NewSecrets returns Secrets of a namespace. The reader must not be a cache; changed is
// called, from the goroutine of Start, when a Secret is another than it was.
func NewSecrets(l log.Logger, reader client.Reader, namespace string, changed func()) *Secrets {
	return &Secrets{logger: l, reader: reader, namespace: namespace, changed: changed, known: map[string]config.Secret{}}
}

// NamedBy returns the Secrets that the peers name, as far as they exist, sorted by name.
// It reads those that were not named before, and forgets those that are no longer.
func (s *Secrets) NamedBy(ctx context.Context, peers []v1beta2.BGPPeer) []config.Secret {
	named := map[string]config.Secret{}
	var out []config.Secret
	for i := range peers {
		name := peers[i].Spec.PasswordSecret.Name
		if _, ok := named[name]; ok || name == "" {
			continue
		}
		secret := s.get(ctx, name)
		named[name] = secret
		if secret.Type != "" {
			out = append(out, secret)
		}
	}
	s.mu.Lock()
	s.known = named
	s.mu.Unlock()
	slices.SortFunc(out, func(a, b config.Secret) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// get returns a Secret as it was last read. One that cannot be read now counts as one
// that does not exist, until it was read again.
func (s *Secrets) get(ctx context.Context, name string) config.Secret {
	s.mu.Lock()
	secret, ok := s.known[name]
	s.mu.Unlock()
	if ok {
		return secret
	}
	ctx, cancel := context.WithTimeout(ctx, secretPatience)
	defer cancel()
	secret, err := s.read(ctx, name)
	if err != nil {
		level.Error(s.logger).Log("msg", "secret not read", "name", name, "error", err, "retry", secretsReread)
		return config.Secret{Name: name}
	}
	return secret
}

func (s *Secrets) read(ctx context.Context, name string) (config.Secret, error) {
	var secret corev1.Secret
	err := s.reader.Get(ctx, types.NamespacedName{Namespace: s.namespace, Name: name}, &secret)
	if apierrors.IsNotFound(err) {
		return config.Secret{Name: name}, nil
	}
	return config.Secret{Name: name, Type: string(secret.Type), Password: lb.Secret(secret.Data["password"])}, err
}

// Start reads the Secrets again and again until ctx ends.
func (s *Secrets) Start(ctx context.Context) error {
	ticker := time.NewTicker(secretsReread)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			s.reread(ctx)
		}
	}
}

// reread leaves what cannot be read as it was.
func (s *Secrets) reread(ctx context.Context) {
	s.mu.Lock()
	names := slices.Sorted(maps.Keys(s.known))
	s.mu.Unlock()
	changed := false
	for _, name := range names {
		if secret, err := s.read(ctx, name); err == nil && s.replace(secret) {
			changed = true
		}
	}
	if changed {
		s.changed()
	}
}

// replace reports whether the Secret is another than the one known.
func (s *Secrets) replace(secret config.Secret) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.known[secret.Name]
	if !ok || known == secret {
		return false
	}
	s.known[secret.Name] = secret
	return true
}
