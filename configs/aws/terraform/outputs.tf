output "connect_attachment_id" {
  description = "The Connect attachment."
  value       = aws_ec2_transit_gateway_connect.this.id
}

output "connect_peers" {
  description = "The Connect peers by gateway: id, outer address of the Transit Gateway, and its two BGP addresses."
  value = {
    for name, p in aws_ec2_transit_gateway_connect_peer.gateway : name => {
      id            = p.id
      address       = p.transit_gateway_address
      bgp_addresses = p.bgp_transit_gateway_addresses
    }
  }
}

output "endpoints" {
  description = "What sites put into Endpoint =."
  value = concat(
    [for a in values(aws_eip.gateway) : "${a.public_ip}:${var.wireguard_port}"],
    [for l in aws_lb.this : "${l.dns_name}:${var.wireguard_port}"],
  )
}

output "security_group_id" {
  description = "Security group of the gateways."
  value       = aws_security_group.gateway.id
}

output "role_name" {
  description = "IAM role of the gateways."
  value       = aws_iam_role.gateway.name
}
