# The policies are the files beside this module; IAM.md there justifies each action.

resource "aws_iam_role" "gateway" {
  name_prefix = "${var.name}-"
  tags        = local.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_instance_profile" "gateway" {
  name_prefix = "${var.name}-"
  role        = aws_iam_role.gateway.name
  tags        = local.tags
}

resource "aws_iam_role_policy" "readonly" {
  name   = "readonly"
  role   = aws_iam_role.gateway.id
  policy = file("${path.module}/../iam-readonly.json")
}

resource "aws_iam_role_policy" "secrets" {
  name   = "secrets"
  role   = aws_iam_role.gateway.id
  policy = file("${path.module}/../iam-secrets.json")
}

resource "aws_iam_role_policy" "failover" {
  count = var.allow_route_failover ? 1 : 0

  name   = "failover"
  role   = aws_iam_role.gateway.id
  policy = file("${path.module}/../iam-failover.json")
}

resource "aws_iam_role_policy" "lb" {
  count = var.allow_load_balancer ? 1 : 0

  name   = "lb"
  role   = aws_iam_role.gateway.id
  policy = file("${path.module}/../iam-lb.json")
}
