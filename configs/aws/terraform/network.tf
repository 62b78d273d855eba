locals {
  tags = merge({ "wgbgp:gateway" = var.name }, var.tags)
}

# The interface stays when an instance is replaced, and with it the PeerAddress,
# the Elastic IP and the load balancer's target.
resource "aws_network_interface" "gateway" {
  for_each = var.gateways

  subnet_id         = each.value.subnet_id
  private_ips       = [each.value.private_address]
  security_groups   = [aws_security_group.gateway.id]
  source_dest_check = false # packets of the sites leave here when there is no GRE around them
  description       = "${var.name} ${each.key}"
  tags              = merge(local.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_security_group" "gateway" {
  name_prefix = "${var.name}-"
  description = "wgbgp gateways"
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { Name = var.name })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "wireguard" {
  for_each = var.wireguard_sources

  security_group_id = aws_security_group.gateway.id
  description       = "WireGuard from the sites"
  ip_protocol       = "udp"
  from_port         = var.wireguard_port
  to_port           = var.wireguard_port
  cidr_ipv4         = strcontains(each.value, ":") ? null : each.value
  cidr_ipv6         = strcontains(each.value, ":") ? each.value : null
}

resource "aws_vpc_security_group_ingress_rule" "gre" {
  security_group_id = aws_security_group.gateway.id
  description       = "GRE from the Transit Gateway"
  ip_protocol       = "47"
  cidr_ipv4         = var.transit_gateway_cidr
}

resource "aws_vpc_security_group_ingress_rule" "health" {
  for_each = var.health_sources

  security_group_id = aws_security_group.gateway.id
  description       = "health checks"
  ip_protocol       = "tcp"
  from_port         = var.health_port
  to_port           = var.health_port
  cidr_ipv4         = strcontains(each.value, ":") ? null : each.value
  cidr_ipv6         = strcontains(each.value, ":") ? each.value : null
}

resource "aws_vpc_security_group_ingress_rule" "fleet" {
  security_group_id            = aws_security_group.gateway.id
  description                  = "BGP between the gateways"
  ip_protocol                  = "tcp"
  from_port                    = 179
  to_port                      = 179
  referenced_security_group_id = aws_security_group.gateway.id
}

resource "aws_vpc_security_group_ingress_rule" "peers" {
  security_group_id            = aws_security_group.gateway.id
  description                  = "where WireGuard peers are, between gateways with one key"
  ip_protocol                  = "udp"
  from_port                    = 51819
  to_port                      = 51819
  referenced_security_group_id = aws_security_group.gateway.id
}

# Without "fragmentation needed" no path MTU is found.
resource "aws_vpc_security_group_ingress_rule" "icmp" {
  security_group_id = aws_security_group.gateway.id
  description       = "ICMP destination unreachable"
  ip_protocol       = "icmp"
  from_port         = 3
  to_port           = -1
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "ipv4" {
  security_group_id = aws_security_group.gateway.id
  description       = "everything"
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "ipv6" {
  security_group_id = aws_security_group.gateway.id
  description       = "everything"
  ip_protocol       = "-1"
  cidr_ipv6         = "::/0"
}
