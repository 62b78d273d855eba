package tgwsim

import (
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

func tableOperations() []Operation {
	return []Operation{
		Op("DescribeTransitGatewayRouteTables", describeTables),
		Op("AssociateTransitGatewayRouteTable", associate),
		Op("DisassociateTransitGatewayRouteTable", disassociate),
		Op("EnableTransitGatewayRouteTablePropagation", enablePropagation),
		Op("DisableTransitGatewayRouteTablePropagation", disablePropagation),
		Op("GetTransitGatewayRouteTableAssociations", tableAssociations),
		Op("GetTransitGatewayRouteTablePropagations", tablePropagations),
		Op("GetTransitGatewayAttachmentPropagations", attachmentPropagations),
	}
}

func describeTables(c *Call, in *ec2.DescribeTransitGatewayRouteTablesInput) (*ec2.DescribeTransitGatewayRouteTablesOutput, error) {
	l := listing[*world.Table]{
		notFound: "InvalidRouteTableID.NotFound", // [TF-PEER]
		id:       func(t *world.Table) string { return t.ID },
		filters: map[string]func(*world.Table) []string{ // [API]
			"default-association-route-table": func(t *world.Table) []string { return truth(c.defaults(t).DefaultAssociation == t.ID) },
			"default-propagation-route-table": func(t *world.Table) []string { return truth(c.defaults(t).DefaultPropagation == t.ID) },
			"state":                           func(t *world.Table) []string { return value(t.State) },
			"transit-gateway-id":              func(t *world.Table) []string { return value(t.TransitGatewayID) },
			"transit-gateway-route-table-id":  func(t *world.Table) []string { return value(t.ID) },
		},
	}
	found, token, err := find(c, l, c.State.Tables, query{in.TransitGatewayRouteTableIds, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.DescribeTransitGatewayRouteTablesOutput{TransitGatewayRouteTables: convert(found, c.table), NextToken: token}, err
}

// defaults is the Transit Gateway of a table, which has the defaults.
func (c *Call) defaults(t *world.Table) *world.TransitGateway {
	if g := c.State.TransitGateways[t.TransitGatewayID]; g != nil {
		return g
	}
	return &world.TransitGateway{}
}

func (c *Call) table(t *world.Table) types.TransitGatewayRouteTable {
	return types.TransitGatewayRouteTable{
		TransitGatewayRouteTableId: ptr(t.ID), TransitGatewayId: ptr(t.TransitGatewayID), State: types.TransitGatewayRouteTableState(t.State),
		DefaultAssociationRouteTable: ptr(c.defaults(t).DefaultAssociation == t.ID), DefaultPropagationRouteTable: ptr(c.defaults(t).DefaultPropagation == t.ID),
		CreationTime: moment(t.Created), Tags: sdkTags(t.Tags),
	}
}

func associate(c *Call, in *ec2.AssociateTransitGatewayRouteTableInput) (*ec2.AssociateTransitGatewayRouteTableOutput, error) {
	a, err := c.join(c.World.Associate, in.TransitGatewayRouteTableId, in.TransitGatewayAttachmentId)
	if err != nil {
		return nil, err
	}
	return &ec2.AssociateTransitGatewayRouteTableOutput{Association: association(a, "associating")}, nil
}

func disassociate(c *Call, in *ec2.DisassociateTransitGatewayRouteTableInput) (*ec2.DisassociateTransitGatewayRouteTableOutput, error) {
	a, err := c.join(c.World.Disassociate, in.TransitGatewayRouteTableId, in.TransitGatewayAttachmentId)
	if err != nil {
		return nil, err
	}
	a.TableID = text(in.TransitGatewayRouteTableId)
	return &ec2.DisassociateTransitGatewayRouteTableOutput{Association: association(a, "disassociating")}, nil
}

// join does something to a table and an attachment, and returns the latter.
func (c *Call) join(do func(table, attachment string) error, table, attachment *string) (*world.Attachment, error) {
	if err := do(text(table), text(attachment)); err != nil {
		return nil, err
	}
	c.fresh()
	a := *c.State.Attachments[text(attachment)]
	a.TableID = text(table)
	return &a, nil
}

func association(a *world.Attachment, state types.TransitGatewayAssociationState) *types.TransitGatewayAssociation {
	return &types.TransitGatewayAssociation{
		TransitGatewayRouteTableId: ptr(a.TableID), TransitGatewayAttachmentId: ptr(a.ID), ResourceId: some(a.ResourceID),
		ResourceType: types.TransitGatewayAttachmentResourceType(a.Type), State: state,
	}
}

func enablePropagation(c *Call, in *ec2.EnableTransitGatewayRouteTablePropagationInput) (*ec2.EnableTransitGatewayRouteTablePropagationOutput, error) {
	a, err := c.propagate(c.World.Propagate, in.TransitGatewayRouteTableId, in.TransitGatewayAttachmentId)
	if err != nil {
		return nil, err
	}
	return &ec2.EnableTransitGatewayRouteTablePropagationOutput{Propagation: propagation(a, "enabling")}, nil
}

func disablePropagation(c *Call, in *ec2.DisableTransitGatewayRouteTablePropagationInput) (*ec2.DisableTransitGatewayRouteTablePropagationOutput, error) {
	a, err := c.propagate(c.World.StopPropagation, in.TransitGatewayRouteTableId, in.TransitGatewayAttachmentId)
	if err != nil {
		return nil, err
	}
	return &ec2.DisableTransitGatewayRouteTablePropagationOutput{Propagation: propagation(a, "disabling")}, nil
}

// propagate is join for propagations, whose attachment could be an announcement
// instead; announcements of peering attachments are not emulated.
func (c *Call) propagate(do func(table, attachment string) error, table, attachment *string) (*world.Attachment, error) {
	if attachment == nil {
		return nil, &wire.Error{Code: "MissingParameter", Message: "The request must contain the parameter TransitGatewayAttachmentId"}
	}
	return c.join(do, table, attachment)
}

func propagation(a *world.Attachment, state types.TransitGatewayPropagationState) *types.TransitGatewayPropagation {
	return &types.TransitGatewayPropagation{
		TransitGatewayRouteTableId: ptr(a.TableID), TransitGatewayAttachmentId: ptr(a.ID), ResourceId: some(a.ResourceID),
		ResourceType: types.TransitGatewayAttachmentResourceType(a.Type), State: state,
	}
}

// joined finds the attachments of a table, for associations and propagations.
var joined = listing[*world.Attachment]{
	id: func(a *world.Attachment) string { return a.ID },
	filters: map[string]func(*world.Attachment) []string{ // [API]
		"resource-id":                   func(a *world.Attachment) []string { return value(a.ResourceID) },
		"resource-type":                 func(a *world.Attachment) []string { return value(a.Type) },
		"transit-gateway-attachment-id": func(a *world.Attachment) []string { return value(a.ID) },
	},
}

// members are the attachments that some hold for.
func (c *Call) members(table string, holds func(*world.Attachment) bool) (map[string]*world.Attachment, error) {
	if t := c.State.Tables[table]; t == nil {
		return nil, &wire.Error{Code: "InvalidRouteTableID.NotFound", Message: "Transit Gateway Route Table " + table + " was not found"}
	}
	found := map[string]*world.Attachment{}
	for id, a := range c.State.Attachments {
		if holds(a) {
			found[id] = a
		}
	}
	return found, nil
}

func tableAssociations(c *Call, in *ec2.GetTransitGatewayRouteTableAssociationsInput) (*ec2.GetTransitGatewayRouteTableAssociationsOutput, error) {
	table := text(in.TransitGatewayRouteTableId)
	all, err := c.members(table, func(a *world.Attachment) bool { return a.TableID == table })
	if err != nil {
		return nil, err
	}
	found, token, err := find(c, joined, all, query{nil, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.GetTransitGatewayRouteTableAssociationsOutput{NextToken: token, Associations: convert(found, func(a *world.Attachment) types.TransitGatewayRouteTableAssociation {
		return types.TransitGatewayRouteTableAssociation{
			TransitGatewayAttachmentId: ptr(a.ID), ResourceId: some(a.ResourceID),
			ResourceType: types.TransitGatewayAttachmentResourceType(a.Type), State: types.TransitGatewayAssociationState(a.Association.State),
		}
	})}, err
}

func tablePropagations(c *Call, in *ec2.GetTransitGatewayRouteTablePropagationsInput) (*ec2.GetTransitGatewayRouteTablePropagationsOutput, error) {
	table := text(in.TransitGatewayRouteTableId)
	all, err := c.members(table, func(a *world.Attachment) bool { return a.Propagations[table] != nil })
	if err != nil {
		return nil, err
	}
	found, token, err := find(c, joined, all, query{nil, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.GetTransitGatewayRouteTablePropagationsOutput{NextToken: token, TransitGatewayRouteTablePropagations: convert(found, func(a *world.Attachment) types.TransitGatewayRouteTablePropagation {
		return types.TransitGatewayRouteTablePropagation{
			TransitGatewayAttachmentId: ptr(a.ID), ResourceId: some(a.ResourceID),
			ResourceType: types.TransitGatewayAttachmentResourceType(a.Type), State: types.TransitGatewayPropagationState(a.Propagations[table].State),
		}
	})}, err
}

func attachmentPropagations(c *Call, in *ec2.GetTransitGatewayAttachmentPropagationsInput) (*ec2.GetTransitGatewayAttachmentPropagationsOutput, error) {
	a := c.State.Attachments[text(in.TransitGatewayAttachmentId)]
	if a == nil {
		return nil, &wire.Error{Code: "InvalidTransitGatewayAttachmentID.NotFound", Message: "Transit Gateway Attachment " + text(in.TransitGatewayAttachmentId) + " was not found"}
	}
	l := listing[string]{
		id:      func(table string) string { return table },
		filters: map[string]func(string) []string{"transit-gateway-route-table-id": value}, // [API]
	}
	tables := map[string]string{}
	for id := range maps.Keys(a.Propagations) {
		tables[id] = id
	}
	found, token, err := find(c, l, tables, query{nil, in.Filters, in.MaxResults, in.NextToken})
	return &ec2.GetTransitGatewayAttachmentPropagationsOutput{NextToken: token, TransitGatewayAttachmentPropagations: convert(slices.Clip(found), func(table string) types.TransitGatewayAttachmentPropagation {
		return types.TransitGatewayAttachmentPropagation{TransitGatewayRouteTableId: ptr(table), State: types.TransitGatewayPropagationState(a.Propagations[table].State)}
	})}, err
}
