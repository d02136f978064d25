package api_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"sigs.k8s.io/yaml"
)

const crdFolder = "../config/crd/bases"

// TestAPIServerAcceptsCRDs runs the checks that an API server makes when a CRD is created: the schema's structure, the
// types of the CEL rules, and the bounds on what the rules may cost.
func TestAPIServerAcceptsCRDs(t *testing.T) {
	for _, crd := range loadCRDs(t) {
		t.Run(crd.Spec.Names.Kind, func(t *testing.T) {
			internal := &apiextensions.CustomResourceDefinition{}
			if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(crd, internal, nil); err != nil {
				t.Fatal(err)
			}
			internal.Status.StoredVersions = []string{storageVersion(crd)}
			for _, err := range crdvalidation.ValidateCustomResourceDefinition(t.Context(), internal) {
				t.Error(err)
			}
		})
	}
}

func storageVersion(crd *apiextensionsv1.CustomResourceDefinition) string {
	for _, v := range crd.Spec.Versions {
		if v.Storage {
			return v.Name
		}
	}
	return ""
}

// loadCRDs reads the generated CRDs and defaults them as an API server does.
func loadCRDs(t testing.TB) []*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(crdFolder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs in %s: %v", crdFolder, err)
	}
	var crds []*apiextensionsv1.CustomResourceDefinition
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(content, crd); err != nil {
			t.Fatalf("parse %s: %v", file, err)
		}
		apiextensionsv1.SetObjectDefaults_CustomResourceDefinition(crd)
		crds = append(crds, crd)
	}
	return crds
}

// apiServer judges objects by the CRDs, in the steps and with the code of the real one.
type apiServer map[runtimeschema.GroupVersionKind]*resource

type resource struct {
	structural *schema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

func newAPIServer(t testing.TB) apiServer {
	t.Helper()
	server := apiServer{}
	for _, crd := range loadCRDs(t) {
		for _, v := range crd.Spec.Versions {
			r, err := newResource(v)
			if err != nil {
				t.Fatalf("%s %s: %v", crd.Name, v.Name, err)
			}
			server[runtimeschema.GroupVersionKind{Group: crd.Spec.Group, Version: v.Name, Kind: crd.Spec.Names.Kind}] = r
		}
	}
	return server
}

func newResource(v apiextensionsv1.CustomResourceDefinitionVersion) (*resource, error) {
	internal := &apiextensions.CustomResourceValidation{}
	if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(v.Schema, internal, nil); err != nil {
		return nil, err
	}
	structural, err := schema.NewStructural(internal.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	validator, _, err := validation.NewSchemaValidator(internal.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	return &resource{structural, validator, cel.NewValidator(structural, true, celconfig.PerCallLimit)}, nil
}

// create says what is wrong with a new object, whose defaults it fills in.
func (s apiServer) create(ctx context.Context, obj *unstructured.Unstructured) field.ErrorList {
	r, errs := s.admit(obj)
	if errs != nil {
		return errs
	}
	errs = append(errs, validation.ValidateCustomResource(nil, obj.Object, r.schema)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, r.structural, obj.Object)...)
	if len(errs) > 0 {
		return errs
	}
	errs, _ = r.rules.Validate(ctx, nil, r.structural, obj.Object, nil, celconfig.RuntimeCELCostBudget)
	return errs
}

// update says what is wrong with an object that takes the place of another. A mistake that the old object had in the
// same place is let pass, as Kubernetes has done by default since 1.30.
func (s apiServer) update(ctx context.Context, obj, old *unstructured.Unstructured) field.ErrorList {
	r, errs := s.admit(obj)
	if errs != nil {
		return errs
	}
	correlated := func() *common.CorrelatedObject {
		return common.NewCorrelatedObject(obj.Object, old.Object, &model.Structural{Structural: r.structural})
	}
	errs = append(errs, validation.ValidateCustomResourceUpdate(nil, obj.Object, old.Object, r.schema, validation.WithRatcheting(correlated()))...)
	if len(listtype.ValidateListSetsAndMaps(nil, r.structural, old.Object)) == 0 {
		errs = append(errs, listtype.ValidateListSetsAndMaps(nil, r.structural, obj.Object)...)
	}
	if len(errs) > 0 {
		return errs
	}
	errs, _ = r.rules.Validate(ctx, nil, r.structural, obj.Object, old.Object, celconfig.RuntimeCELCostBudget, cel.WithRatcheting(correlated()))
	return errs
}

// admit finds the object's kind, refuses fields that it does not have, and fills in defaults. The real server drops such
// fields with a warning, which in a test would hide a misspelt name.
func (s apiServer) admit(obj *unstructured.Unstructured) (*resource, field.ErrorList) {
	r := s[obj.GroupVersionKind()]
	if r == nil {
		return nil, field.ErrorList{field.NotFound(field.NewPath("kind"), obj.GroupVersionKind())}
	}
	dropped := pruning.PruneWithOptions(obj.Object, r.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	if len(dropped) > 0 {
		return nil, field.ErrorList{field.Forbidden(nil, fmt.Sprintf("unknown fields %v", dropped))}
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(obj.Object, r.structural)
	defaulting.Default(obj.Object, r.structural)
	return r, nil
}

// parse reads one YAML document.
func parse(t testing.TB, document string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	content, err := yaml.YAMLToJSON([]byte(document))
	if err == nil {
		err = runtime.DecodeInto(unstructured.UnstructuredJSONScheme, content, obj)
	}
	if err != nil {
		t.Fatalf("parse %q: %v", document, err)
	}
	return obj
}
