package main

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

var (
	secretName = types.NamespacedName{Namespace: "metallb-system", Name: "memberlist"}
	deployment = &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "controller", UID: "4711"}}
)

// ensured returns the Secret, if there is one after the controller has seen to it.
func ensured(t *testing.T, objects ...client.Object) (*corev1.Secret, error) {
	t.Helper()
	c := fake.NewClientBuilder().WithObjects(objects...).Build()
	s := &memberlistSecret{
		logger: log.NewNopLogger(), reader: c, client: c,
		secret: secretName, owner: types.NamespacedName{Namespace: "metallb-system", Name: "controller"},
	}
	if err := s.ensure(t.Context()); err != nil {
		return nil, err
	}
	out := &corev1.Secret{}
	return out, c.Get(t.Context(), secretName, out)
}

// Speakers of other versions that are still in the ring read the same file: 16 random
// bytes as 22 characters.
func TestTheSecretIsWhatExistingSpeakersRead(t *testing.T) {
	one, err := ensured(t, deployment)
	if err != nil {
		t.Fatal(err)
	}
	key, err := base64.RawStdEncoding.DecodeString(string(one.Data["secretkey"]))
	if err != nil || len(key) != 16 || len(one.Data["secretkey"]) != 22 || len(one.Data) != 1 {
		t.Errorf("data %q, %v, want 16 bytes in secretkey", one.Data, err)
	}
	want := []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "controller", UID: "4711"}}
	if diff := cmp.Diff(want, one.OwnerReferences); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	if another, _ := ensured(t, deployment); string(another.Data["secretkey"]) == string(one.Data["secretkey"]) {
		t.Error("two clusters have the same key")
	}
}

func TestASecretThatIsThereIsLeftAsItIs(t *testing.T) {
	there := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: secretName.Namespace, Name: secretName.Name},
		Data:       map[string][]byte{"secretkey": []byte("chosen by hand")},
	}
	got, err := ensured(t, there)
	if err != nil || string(got.Data["secretkey"]) != "chosen by hand" {
		t.Errorf("secret %v, %v", got, err)
	}
}

func TestWithoutItsOwnerTheSecretIsNotMade(t *testing.T) {
	if got, err := ensured(t); err == nil || !strings.Contains(err.Error(), "Deployment") {
		t.Errorf("secret %v, error %v, want one that names the Deployment", got, err)
	}
}
