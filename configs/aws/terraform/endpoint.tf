# How sites reach the gateways: an Elastic IP each, or one Network Load Balancer.

resource "aws_eip" "gateway" {
  for_each = var.endpoint == "eip" ? var.gateways : {}

  domain = "vpc"
  tags   = merge(local.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_eip_association" "gateway" {
  for_each = var.endpoint == "eip" ? var.gateways : {}

  allocation_id        = aws_eip.gateway[each.key].id
  network_interface_id = aws_network_interface.gateway[each.key].id
}

resource "aws_lb" "this" {
  count = var.endpoint == "nlb" ? 1 : 0

  name                             = var.name
  load_balancer_type               = "network"
  internal                         = false
  subnets                          = var.nlb_subnet_ids
  enable_cross_zone_load_balancing = true # a zone whose only gateway is gone still answers
  tags                             = local.tags

  lifecycle {
    precondition {
      condition     = length(var.nlb_subnet_ids) > 0
      error_message = "endpoint = nlb needs nlb_subnet_ids."
    }

    precondition {
      condition     = length(var.health_sources) > 0
      error_message = "endpoint = nlb needs health_sources: the CIDR blocks of nlb_subnet_ids. Else every target is unhealthy for ever."
    }
  }
}

# UDP has no health checks of its own: /healthz says whether this host forwards.
# Targets are addresses, which outlive instances. The source address of a client
# is kept, always, for UDP.
resource "aws_lb_target_group" "this" {
  count = var.endpoint == "nlb" ? 1 : 0

  name                 = var.name
  vpc_id               = var.vpc_id
  protocol             = "UDP"
  port                 = var.wireguard_port
  target_type          = "ip"
  deregistration_delay = 30
  tags                 = local.tags

  health_check {
    protocol            = "HTTP"
    port                = tostring(var.health_port)
    path                = "/healthz"
    matcher             = "200"
    interval            = 5
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_target_group_attachment" "gateway" {
  for_each = var.endpoint == "nlb" ? var.gateways : {}

  target_group_arn = aws_lb_target_group.this[0].arn
  target_id        = each.value.private_address
  port             = var.wireguard_port
}

resource "aws_lb_listener" "this" {
  count = var.endpoint == "nlb" ? 1 : 0

  load_balancer_arn = aws_lb.this[0].arn
  protocol          = "UDP"
  port              = var.wireguard_port
  tags              = local.tags

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[0].arn
  }
}
