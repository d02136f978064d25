package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/go-kit/log/level"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// secretRetry lies between two tries to make the Secret.
const secretRetry = 5 * time.Second

// memberlistSecret makes the key with which speakers encrypt their gossip, if there is
// none. Speakers mount the Secret, so that no other part needs to read it.
type memberlistSecret struct {
	logger logger
	reader client.Reader
	client client.Client
	secret types.NamespacedName
	owner  types.NamespacedName
}

func newMemberlistSecret(l logger, mgr ctrl.Manager, o options) *memberlistSecret {
	return &memberlistSecret{
		logger: l, reader: mgr.GetAPIReader(), client: mgr.GetClient(),
		secret: types.NamespacedName{Namespace: o.Namespace, Name: o.memberlistSecret},
		owner:  types.NamespacedName{Namespace: o.Namespace, Name: o.deployment},
	}
}

// Start makes the Secret, however often that takes, and returns.
func (s *memberlistSecret) Start(ctx context.Context) error {
	if s.secret.Name == "" {
		return nil
	}
	for {
		err := s.ensure(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		level.Error(s.logger).Log("msg", "memberlist secret not made", "secret", s.secret, "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(secretRetry):
		}
	}
}

func (s *memberlistSecret) ensure(ctx context.Context) error {
	err := s.reader.Get(ctx, s.secret, &corev1.Secret{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	var owner appsv1.Deployment
	if err := s.reader.Get(ctx, s.owner, &owner); err != nil {
		return fmt.Errorf("read the Deployment that is to own it: %w", err)
	}
	err = s.client.Create(ctx, newSecret(s.secret, &owner))
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if err == nil {
		level.Info(s.logger).Log("msg", "memberlist secret made", "secret", s.secret)
	}
	return err
}

// newSecret holds 16 random bytes as text, which existing speakers take too.
func newSecret(name types.NamespacedName, owner *appsv1.Deployment) *corev1.Secret {
	key := make([]byte, 16)
	_, _ = rand.Read(key) // documented never to return an error
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: name.Namespace, Name: name.Name,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "Deployment", Name: owner.Name, UID: owner.UID,
			}},
		},
		Data: map[string][]byte{"secretkey": []byte(base64.RawStdEncoding.EncodeToString(key))},
	}
}
