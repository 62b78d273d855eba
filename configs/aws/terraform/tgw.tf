# The Transit Gateway's side: what Connect rides on, the Connect attachment, and a
# Connect peer for each gateway. Association and propagation are those of the
# Transit Gateway's default route tables; without these, see README.md.

resource "aws_ec2_transit_gateway_vpc_attachment" "this" {
  count = var.vpc_attachment_id == null ? 1 : 0

  transit_gateway_id = var.transit_gateway_id
  vpc_id             = var.vpc_id
  subnet_ids         = distinct([for g in values(var.gateways) : g.subnet_id])
  tags               = merge(local.tags, { Name = var.name })
}

resource "aws_ec2_transit_gateway_connect" "this" {
  transit_gateway_id      = var.transit_gateway_id
  transport_attachment_id = coalesce(var.vpc_attachment_id, one(aws_ec2_transit_gateway_vpc_attachment.this[*].id))
  tags                    = merge(local.tags, { Name = var.name })
}

# Every property but the tags forces a new peer, which wgbgpd follows without a
# restart.
resource "aws_ec2_transit_gateway_connect_peer" "gateway" {
  for_each = var.gateways

  transit_gateway_attachment_id = aws_ec2_transit_gateway_connect.this.id
  peer_address                  = each.value.private_address
  inside_cidr_blocks            = each.value.inside_cidrs
  bgp_asn                       = tostring(var.asn) # left out it would be the Transit Gateway's, which means iBGP
  tags                          = merge(local.tags, { Name = "${var.name}-${each.key}" })

  lifecycle {
    precondition {
      condition     = var.asn != var.transit_gateway_asn
      error_message = "asn must differ from the Transit Gateway's: with iBGP it installs nothing that a gateway originates."
    }
  }
}

# GRE to the Transit Gateway leaves by the VPC.
resource "aws_route" "tgw_cidr" {
  for_each = var.route_table_ids

  route_table_id         = each.value
  destination_cidr_block = var.transit_gateway_cidr
  transit_gateway_id     = var.transit_gateway_id

  depends_on = [aws_ec2_transit_gateway_vpc_attachment.this]
}
