package webhook

import (
	"encoding/json"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
)

// kind is one kind of object that is reviewed.
type kind struct {
	name    string
	version string
	// decode reads an object as the API server sends it.
	decode func(raw []byte) (client.Object, error)
	// replace puts the object in the place of the one of its name, or beside the others;
	// without an object it takes the one of that name away.
	replace func(world config.Objects, name string, with client.Object) config.Objects
}

// kinds are all of them. A BGPPeer of v1beta1 is sent as one of v1beta2
// (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-matchpolicy).
var kinds = []kind{
	kindOf("IPAddressPool", "v1beta1", func(o *config.Objects) *[]v1beta1.IPAddressPool { return &o.Pools }),
	kindOf("L2Advertisement", "v1beta1", func(o *config.Objects) *[]v1beta1.L2Advertisement { return &o.L2Advertisements }),
	kindOf("BGPAdvertisement", "v1beta1", func(o *config.Objects) *[]v1beta1.BGPAdvertisement { return &o.BGPAdvertisements }),
	kindOf("BGPPeer", "v1beta2", func(o *config.Objects) *[]v1beta2.BGPPeer { return &o.Peers }),
	kindOf("BFDProfile", "v1beta1", func(o *config.Objects) *[]v1beta1.BFDProfile { return &o.BFDProfiles }),
	kindOf("Community", "v1beta1", func(o *config.Objects) *[]v1beta1.Community { return &o.Communities }),
}

// path is where the API server sends the reviews of this kind: the usual name for it,
// which existing webhook configurations have.
func (k kind) path() string {
	return "/validate-metallb-io-" + k.version + "-" + strings.ToLower(k.name)
}

func kindOf[T any, P interface {
	*T
	client.Object
}](name, version string, list func(*config.Objects) *[]T) kind {
	return kind{
		name: name, version: version,
		decode: func(raw []byte) (client.Object, error) {
			obj := P(new(T))
			return obj, json.Unmarshal(raw, obj)
		},
		replace: func(world config.Objects, name string, with client.Object) config.Objects {
			items := list(&world)
			*items = slices.DeleteFunc(slices.Clone(*items), func(item T) bool { return P(&item).GetName() == name })
			if with != nil {
				*items = append(*items, *with.(P))
			}
			return world
		},
	}
}
