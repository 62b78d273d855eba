package tgwsim

import (
	"reflect"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
)

// notFoundCodes are the codes of an ID that is not (yet) known, by the type of
// the resource [TF-PEER][ERR].
var notFoundCodes = map[string]string{
	"transit-gateway":              "InvalidTransitGatewayID.NotFound",
	"transit-gateway-attachment":   "InvalidTransitGatewayAttachmentID.NotFound",
	"transit-gateway-connect-peer": "InvalidTransitGatewayConnectPeerID.NotFound",
	"transit-gateway-route-table":  "InvalidRouteTableID.NotFound",
	"route-table":                  "InvalidRouteTableID.NotFound",
	"network-interface":            "InvalidNetworkInterfaceID.NotFound",
	"instance":                     "InvalidInstanceID.NotFound",
}

// unseen refuses a change of something so new that the API does not know it yet
// [ERR, eventual consistency]. Reads need no such rule: they are answered from an
// old state.
func (c *Call) unseen(in any) *wire.Error {
	if c.past == nil {
		return nil
	}
	now, then := c.State.Tagged(), c.past.Tagged()
	v := reflect.ValueOf(in).Elem()
	for i := range v.NumField() {
		var ids []string
		switch name := v.Type().Field(i).Name; {
		case strings.HasSuffix(name, "Id"):
			if id, ok := v.Field(i).Interface().(*string); ok {
				ids = []string{text(id)}
			}
		case strings.HasSuffix(name, "Ids") || name == "Resources":
			ids, _ = v.Field(i).Interface().([]string)
		}
		for _, id := range ids {
			resource, exists := now[id]
			if _, known := then[id]; exists && !known {
				return &wire.Error{Code: or(notFoundCodes[resource.Type], "InvalidID"), Message: "The ID '" + id + "' does not exist"}
			}
		}
	}
	return nil
}

// look takes the state that a call sees.
func (c *Call) look(operation string, lags bool, lag time.Duration) {
	c.State = c.World.Snapshot()
	if !lags {
		return
	}
	past := c.World.SnapshotAgo(lag)
	if reads(operation) {
		c.State = past
	} else {
		c.past = past
	}
}
