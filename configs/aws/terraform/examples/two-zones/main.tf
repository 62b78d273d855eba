# Two gateways in two zones with an Elastic IP each: every site has a tunnel to both.

variable "package_sha256" {
  description = "SHA-256 of the package."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "A public subnet in eu-central-1a and one in eu-central-1b."
  type        = list(string)
}

variable "route_table_id" {
  description = "Route table of both subnets."
  type        = string
}

variable "ami_id" {
  description = "An arm64 image with systemd."
  type        = string
}

provider "aws" {
  region = "eu-central-1"
}

resource "aws_ec2_transit_gateway" "this" {
  amazon_side_asn             = 64512
  transit_gateway_cidr_blocks = ["192.0.2.0/24"]
}

module "wgbgp" {
  source = "../.."

  vpc_id               = var.vpc_id
  transit_gateway_id   = aws_ec2_transit_gateway.this.id
  transit_gateway_cidr = "192.0.2.0/24"
  route_table_ids      = [var.route_table_id]

  gateways = {
    a = {
      availability_zone   = "eu-central-1a"
      subnet_id           = var.subnet_ids[0]
      private_address     = "10.0.0.10"
      inside_cidrs        = ["169.254.6.0/29", "fd00:10::/125"]
      wireguard_addresses = ["10.255.0.1/24", "fd77::1/64"]
      private_key         = "aws-sm:wgbgp/a"
    }
    b = {
      availability_zone   = "eu-central-1b"
      subnet_id           = var.subnet_ids[1]
      private_address     = "10.0.1.10"
      inside_cidrs        = ["169.254.6.8/29", "fd00:10::8/125"]
      wireguard_addresses = ["10.255.0.2/24", "fd77::2/64"]
      private_key         = "aws-sm:wgbgp/b"
    }
  }

  ami_id         = var.ami_id
  package_url    = "https://example.com/wgbgp_linux_arm64.tar.gz"
  package_sha256 = var.package_sha256
  sites_toml     = file("${path.module}/sites.toml")
}

output "endpoints" {
  description = "For the sites."
  value       = module.wgbgp.endpoints
}
