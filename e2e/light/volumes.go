package light

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// volume is a directory and where a container has it.
type volume struct{ dir, path string }

// volumes fills the pod's volumes that the container mounts. What they hold is read once, when the pod comes up.
func (r *runner) volumes(ctx context.Context, spec *corev1.Container) (mounts []volume, err error) {
	for _, m := range spec.VolumeMounts {
		for _, v := range r.pod.Spec.Volumes {
			if v.Name != m.Name {
				continue
			}
			dir := filepath.Join(r.dir(), "volumes", v.Name)
			if v.HostPath != nil {
				dir = v.HostPath.Path
			}
			if err := r.fill(ctx, dir, v.VolumeSource); err != nil {
				return nil, fmt.Errorf("volume %s: %w", v.Name, err)
			}
			mounts = append(mounts, volume{dir: filepath.Join(dir, m.SubPath), path: m.MountPath})
		}
	}
	return mounts, nil
}

func (r *runner) fill(ctx context.Context, dir string, source corev1.VolumeSource) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	switch {
	case source.Secret != nil:
		return r.fillSecret(ctx, dir, source.Secret.SecretName, source.Secret.Items, optional(source.Secret.Optional))
	case source.ConfigMap != nil:
		return r.fillConfigMap(ctx, dir, source.ConfigMap.Name, source.ConfigMap.Items, optional(source.ConfigMap.Optional))
	case source.Projected != nil:
		return r.fillProjected(ctx, dir, source.Projected.Sources)
	case source.EmptyDir != nil, source.HostPath != nil:
		return nil
	}
	return fmt.Errorf("a light node has no volumes of this kind")
}

func (r *runner) fillProjected(ctx context.Context, dir string, sources []corev1.VolumeProjection) (err error) {
	for _, s := range sources {
		switch {
		case s.ServiceAccountToken != nil:
			err = r.fillToken(ctx, dir, s.ServiceAccountToken)
		case s.Secret != nil:
			err = r.fillSecret(ctx, dir, s.Secret.Name, s.Secret.Items, optional(s.Secret.Optional))
		case s.ConfigMap != nil:
			err = r.fillConfigMap(ctx, dir, s.ConfigMap.Name, s.ConfigMap.Items, optional(s.ConfigMap.Optional))
		case s.DownwardAPI != nil:
			err = r.fillFields(dir, s.DownwardAPI.Items)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fillToken asks for a token that is good for as long as a lab may last: nobody renews it here.
func (r *runner) fillToken(ctx context.Context, dir string, source *corev1.ServiceAccountTokenProjection) error {
	day := int64(24 * 60 * 60)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &day,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: r.pod.Name, UID: r.pod.UID},
	}}
	if source.Audience != "" {
		request.Spec.Audiences = []string{source.Audience}
	}
	answer, err := r.node.Client.CoreV1().ServiceAccounts(r.pod.Namespace).CreateToken(ctx, r.pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("request a token of %s: %w", r.pod.Spec.ServiceAccountName, err)
	}
	return writeFiles(dir, map[string][]byte{source.Path: []byte(answer.Status.Token)}, nil)
}

func (r *runner) fillSecret(ctx context.Context, dir, name string, items []corev1.KeyToPath, optional bool) error {
	secret, err := r.node.Client.CoreV1().Secrets(r.pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && optional {
		return nil
	}
	if err != nil {
		return err
	}
	return writeFiles(dir, secret.Data, items)
}

func (r *runner) fillConfigMap(ctx context.Context, dir, name string, items []corev1.KeyToPath, optional bool) error {
	configMap, err := r.node.Client.CoreV1().ConfigMaps(r.pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && optional {
		return nil
	}
	if err != nil {
		return err
	}
	files := configMap.BinaryData
	if files == nil {
		files = map[string][]byte{}
	}
	for key, text := range configMap.Data {
		files[key] = []byte(text)
	}
	return writeFiles(dir, files, items)
}

func (r *runner) fillFields(dir string, items []corev1.DownwardAPIVolumeFile) error {
	for _, item := range items {
		if item.FieldRef == nil {
			continue
		}
		value, err := r.field(item.FieldRef.FieldPath)
		if err != nil {
			return err
		}
		if err := writeFiles(dir, map[string][]byte{item.Path: []byte(value)}, nil); err != nil {
			return err
		}
	}
	return nil
}

// writeFiles writes each key as a file, or only the items, under their paths, if there are any.
func writeFiles(dir string, files map[string][]byte, items []corev1.KeyToPath) error {
	chosen := files
	if len(items) > 0 {
		chosen = map[string][]byte{}
	}
	for _, item := range items {
		data, ok := files[item.Key]
		if !ok {
			return fmt.Errorf("no key %s", item.Key)
		}
		chosen[item.Path] = data
	}
	for path, data := range chosen {
		file := filepath.Join(dir, filepath.Clean("/"+strings.TrimSpace(path)))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
