# Packets that the Transit Gateway drops because no route, or a blackhole, is there.
locals {
  tgw_drops = {
    no-route  = "PacketDropCountNoRoute"
    blackhole = "PacketDropCountBlackhole"
  }
}

resource "aws_cloudwatch_metric_alarm" "tgw_drops" {
  for_each = local.tgw_drops

  alarm_name          = "${var.name}-tgw-${each.key}"
  alarm_description   = "The Transit Gateway drops packets from the gateways: ${each.key}."
  namespace           = "AWS/TransitGateway"
  metric_name         = each.value
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topics
  tags                = local.tags

  dimensions = {
    TransitGateway           = var.transit_gateway_id
    TransitGatewayAttachment = aws_ec2_transit_gateway_connect.this.id
  }
}

# When all targets are unhealthy a load balancer sends to all: look at the first.
resource "aws_cloudwatch_metric_alarm" "unhealthy" {
  count = var.endpoint == "nlb" ? 1 : 0

  alarm_name          = "${var.name}-unhealthy"
  alarm_description   = "A gateway says that it does not forward."
  namespace           = "AWS/NetworkELB"
  metric_name         = "UnHealthyHostCount"
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_topics
  tags                = local.tags

  dimensions = {
    LoadBalancer = aws_lb.this[0].arn_suffix
    TargetGroup  = aws_lb_target_group.this[0].arn_suffix
  }
}

resource "aws_cloudwatch_metric_alarm" "instance" {
  for_each = var.gateways

  alarm_name          = "${var.name}-${each.key}-status"
  alarm_description   = "The gateway's instance fails its status check."
  namespace           = "AWS/EC2"
  metric_name         = "StatusCheckFailed"
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_topics
  tags                = local.tags

  dimensions = {
    AutoScalingGroupName = aws_autoscaling_group.gateway[each.key].name
  }
}
