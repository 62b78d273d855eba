package doctor

import (
	"fmt"
	"strings"

	"github.com/wgbgp/wgbgp/tgwconnect"
)

// eachConnect calls judge for the Connect attachments of this host.
func (f *Facts) eachConnect(t *tally, judge func(tgwconnect.Connect, tgwconnect.Attachment), parts ...gapper) {
	if !t.needs(f.AWS.Peers, f.AWS.Connects) || !t.needs(parts...) {
		return
	}
	for _, c := range f.connects() {
		judge(c, find(f.AWS.Attachments.Values, func(a tgwconnect.Attachment) bool { return a.ID == c.ID }))
	}
	t.none("this host has no Connect peer in %s", f.Region)
}

// Row 15 [HOW].
func notAssociated(f *Facts, t *tally) {
	f.eachConnect(t, func(c tgwconnect.Connect, a tgwconnect.Attachment) {
		switch {
		case a.PolicyTableID != "":
			t.good("%s has a policy table instead, see row 16", c.ID)
		case a.RouteTableID == "" || a.AssociationState != "associated":
			t.bad(fmt.Sprintf("aws ec2 associate-transit-gateway-route-table --transit-gateway-attachment-id %s --transit-gateway-route-table-id TABLE", c.ID),
				"%s is associated with no route table (%s)", c.ID, listOr(nonEmpty(a.AssociationState), "no association"))
		default:
			t.good("%s is associated with %s", c.ID, a.RouteTableID)
		}
	}, f.AWS.Attachments)
}

// Row 16 [PBR-LIM].
func policyTable(f *Facts, t *tally) {
	f.eachConnect(t, func(c tgwconnect.Connect, a tgwconnect.Attachment) {
		if a.PolicyTableID != "" {
			t.bad(fmt.Sprintf("aws ec2 disassociate-transit-gateway-policy-table --transit-gateway-policy-table-id %s --transit-gateway-attachment-id %s, then associate a route table", a.PolicyTableID, c.ID),
				"%s has policy table %s", c.ID, a.PolicyTableID)
			return
		}
		t.good("%s has no policy table", c.ID)
	}, f.AWS.Attachments)
}

// Row 17.
func noPropagation(f *Facts, t *tally) {
	f.eachConnect(t, func(c tgwconnect.Connect, a tgwconnect.Attachment) {
		var enabled, other []string
		for _, p := range f.AWS.Propagations.Values {
			if p.AttachmentID != c.ID {
				continue
			}
			if p.State == "enabled" {
				enabled = append(enabled, p.RouteTableID)
			} else {
				other = append(other, p.RouteTableID+" "+p.State)
			}
		}
		if len(enabled) == 0 {
			t.bad(fmt.Sprintf("aws ec2 enable-transit-gateway-route-table-propagation --transit-gateway-attachment-id %s --transit-gateway-route-table-id TABLE", c.ID),
				"%s propagates to no route table%s", c.ID, strings.Join(append([]string{""}, other...), " "))
			return
		}
		t.good("%s propagates to %s", c.ID, strings.Join(enabled, ", "))
	}, f.AWS.Propagations)
}

// Row 22: both default to 64512 [API].
func asnShared(f *Facts, t *tally) {
	if !t.needs(f.AWS.Gateways) {
		return
	}
	by := map[uint32][]string{}
	for _, g := range f.AWS.Gateways.Values {
		if live(g.State) {
			by[g.ASN] = append(by[g.ASN], g.ID)
		}
	}
	cure := "give one of them another ASN: aws ec2 modify-transit-gateway --options AmazonSideAsn=..., after its VPN, Direct Connect and Connect attachments are deleted"
	for asn, ids := range by {
		if len(ids) > 1 {
			t.warn(cure, "ASN %d: %s; routes of one are refused by the other as loops", asn, strings.Join(ids, ", "))
		} else {
			t.good("%s: ASN %d", ids[0], asn)
		}
	}
	t.none("there is no Transit Gateway in %s", f.Region)
}

// Row 23 [ENC].
func encryptionSupport(f *Facts, t *tally) {
	if !t.needs(f.AWS.Gateways) {
		return
	}
	for _, g := range f.AWS.Gateways.Values {
		if !live(g.State) {
			continue
		}
		if g.EncryptionState != "" && g.EncryptionState != "disabled" {
			t.bad(fmt.Sprintf("aws ec2 modify-transit-gateway --transit-gateway-id %s --options EncryptionSupport=disable", g.ID), "%s: Encryption Support is %s", g.ID, g.EncryptionState)
			continue
		}
		t.good("%s: Encryption Support is disabled", g.ID)
	}
	t.none("there is no Transit Gateway in %s", f.Region)
}
