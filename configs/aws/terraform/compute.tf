# One Auto Scaling group of one instance for each gateway: what fails is replaced
# in the same zone with the same interface. One group over all zones would not do,
# because a Connect peer is bound to one address.

locals {
  # iBGP sessions to the other gateways, by which each knows what the others have.
  fleet = {
    for name, g in var.gateways : name => join("\n", [
      for other, o in var.gateways : "[[neighbor]]\nname = \"${var.name}-${other}\"\nkind = \"fleet\"\naddress = \"${o.private_address}\"\nasn = ${var.asn}\n"
      if other != name
    ])
  }
}

resource "aws_launch_template" "gateway" {
  for_each = var.gateways

  name_prefix            = "${var.name}-${each.key}-"
  image_id               = var.ami_id
  instance_type          = var.instance_type
  update_default_version = true

  user_data = base64encode(templatefile("${path.module}/user-data.sh.tftpl", {
    address             = each.value.private_address
    asn                 = var.asn
    drain_wait          = var.endpoint == "nlb" ? "15s" : "0s" # two checks at 5 s and some
    fleet               = local.fleet[each.key]
    health_port         = var.health_port
    name                = "${var.name}-${each.key}"
    package_sha256      = var.package_sha256
    package_url         = var.package_url
    private_key         = each.value.private_key
    region              = data.aws_region.current.name
    shared_key          = var.endpoint == "nlb"
    sites_toml          = var.sites_toml
    wireguard_addresses = join(", ", [for a in each.value.wireguard_addresses : "\"${a}\""])
    wireguard_port      = var.wireguard_port
  }))

  lifecycle {
    precondition {
      condition     = var.endpoint == "none" || length(distinct([for g in values(var.gateways) : g.private_key])) == (var.endpoint == "nlb" ? 1 : length(var.gateways))
      error_message = "Behind a load balancer all gateways have one private key; with an address each, every one has its own, by which sites tell them apart."
    }
  }

  iam_instance_profile {
    arn = aws_iam_instance_profile.gateway.arn
  }

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  network_interfaces {
    device_index          = 0
    network_interface_id  = aws_network_interface.gateway[each.key].id
    delete_on_termination = false
  }

  tag_specifications {
    resource_type = "instance"
    tags          = merge(local.tags, { Name = "${var.name}-${each.key}" })
  }
}

resource "aws_autoscaling_group" "gateway" {
  for_each = var.gateways

  name               = "${var.name}-${each.key}"
  availability_zones = [each.value.availability_zone] # not subnets: the interface brings its own
  min_size           = 0                              # the old instance must let go of the interface before a new one starts
  max_size           = 1
  desired_capacity   = 1
  health_check_type  = "EC2"

  launch_template {
    id      = aws_launch_template.gateway[each.key].id
    version = aws_launch_template.gateway[each.key].latest_version
  }

  tag {
    key                 = "wgbgp:gateway"
    value               = var.name
    propagate_at_launch = true
  }

  depends_on = [
    aws_ec2_transit_gateway_connect_peer.gateway,
    aws_eip_association.gateway, # the package comes by it
    aws_iam_role_policy.readonly,
    aws_iam_role_policy.secrets,
  ]
}
