variable "name" {
  description = "Prefix of all names and value of the tag Name."
  type        = string
  default     = "wgbgp"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,23}$", var.name))
    error_message = "Up to 24 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "tags" {
  description = "Further tags of everything that is made."
  type        = map(string)
  default     = {}
}

variable "vpc_id" {
  description = "VPC of the gateways."
  type        = string
}

variable "gateways" {
  description = "The gateways by name, at most four (a Connect attachment has four peers). private_address is the PeerAddress: fixed, free, and in the subnet. inside_cidrs are a /29 of 169.254.0.0/16 and optionally a /125 of fd00::/8, unique in the Transit Gateway. private_key says where the WireGuard key is, a reference and never the key: aws-sm:SECRET or ssm:/PARAMETER under the names that iam-secrets.json permits (wgbgp/...)."
  type = map(object({
    availability_zone   = string
    subnet_id           = string
    private_address     = string
    inside_cidrs        = list(string)
    wireguard_addresses = list(string)
    private_key         = string
  }))

  validation {
    condition     = length(var.gateways) >= 1 && length(var.gateways) <= 4
    error_message = "One to four gateways."
  }

  validation {
    condition     = alltrue([for name in keys(var.gateways) : can(regex("^[a-z0-9-]{1,16}$", name))])
    error_message = "Names are up to 16 lower-case letters, digits and hyphens."
  }

  validation {
    condition     = alltrue([for g in values(var.gateways) : can(regex("^(aws-sm:|ssm:/|vault:|credential:|file:/)", g.private_key))])
    error_message = "private_key must be a reference, such as aws-sm:wgbgp/a."
  }

  validation {
    condition     = alltrue([for g in values(var.gateways) : can(cidrnetmask("${g.private_address}/32"))])
    error_message = "private_address must be an IPv4 address."
  }

  validation {
    condition     = alltrue([for g in values(var.gateways) : length([for c in g.inside_cidrs : c if can(regex("^169\\.254\\.[0-9.]+/29$", c))]) == 1])
    error_message = "inside_cidrs needs exactly one /29 of 169.254.0.0/16."
  }

  validation {
    condition     = alltrue(flatten([for g in values(var.gateways) : [for c in g.inside_cidrs : !can(regex("^169\\.254\\.([0-5]\\.0|169\\.248)/29$", c))]]))
    error_message = "169.254.0.0/29 to 169.254.5.0/29 and 169.254.169.248/29 are reserved by AWS."
  }

  validation {
    condition     = length(distinct(flatten([for g in values(var.gateways) : g.inside_cidrs]))) == length(flatten([for g in values(var.gateways) : g.inside_cidrs]))
    error_message = "Inside CIDR blocks must differ."
  }
}

variable "transit_gateway_id" {
  description = "The Transit Gateway. It must have a CIDR block, see transit_gateway_cidr."
  type        = string
}

variable "transit_gateway_cidr" {
  description = "IPv4 CIDR block of the Transit Gateway, /24 or larger: the outer addresses of its GRE tunnels."
  type        = string

  validation {
    condition     = can(cidrnetmask(var.transit_gateway_cidr)) && tonumber(split("/", var.transit_gateway_cidr)[1]) <= 24
    error_message = "An IPv4 block of /24 or larger."
  }
}

variable "transit_gateway_asn" {
  description = "ASN of the Transit Gateway; only compared, so that iBGP is never made by mistake."
  type        = number
  default     = 64512
}

variable "vpc_attachment_id" {
  description = "An existing VPC attachment as transport. null: one is made, in the gateways' subnets."
  type        = string
  default     = null
}

variable "route_table_ids" {
  description = "VPC route tables of the gateways' subnets: each gets a route to transit_gateway_cidr."
  type        = set(string)
}

variable "asn" {
  description = "ASN of the gateways, the same for all: ECMP needs equal AS_PATHs."
  type        = number
  default     = 65010

  validation {
    condition     = (var.asn >= 64512 && var.asn <= 65534) || (var.asn >= 4200000000 && var.asn <= 4294967294) || (var.asn >= 1 && var.asn < 64496)
    error_message = "A private ASN (64512-65534, 4200000000-4294967294) or one of your own."
  }
}

variable "ami_id" {
  description = "Image of the instances: Linux with systemd, curl, tar and sha256sum, of the package's architecture."
  type        = string
}

variable "instance_type" {
  description = "Instance type."
  type        = string
  default     = "c7g.large"
}

variable "package_url" {
  description = "HTTPS address of a .tar.gz with wgbgpd, wgbgp, wgbgpd.service and 90-wgbgpd.sysctl.conf at its top."
  type        = string

  validation {
    condition     = startswith(var.package_url, "https://")
    error_message = "Must be an https:// address."
  }
}

variable "package_sha256" {
  description = "SHA-256 of the package, in hexadecimal. What does not match is not installed."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.package_sha256))
    error_message = "64 lower-case hexadecimal digits."
  }
}

variable "sites_toml" {
  description = "The [[site]] tables, as text: /etc/wgbgp/conf.d/sites.toml. Refer to secrets, user data is no place for them."
  type        = string
  default     = ""
}

variable "wireguard_port" {
  description = "UDP port of WireGuard."
  type        = number
  default     = 51820

  validation {
    condition     = var.wireguard_port >= 1 && var.wireguard_port <= 65535
    error_message = "1 to 65535."
  }
}

variable "wireguard_sources" {
  description = "Where sites may come from. IPv4 and IPv6."
  type        = set(string)
  default     = ["0.0.0.0/0"]
}

variable "endpoint" {
  description = "How sites reach the gateways. eip: an Elastic IP each, sites have a tunnel to every gateway (no packet is lost when one leaves). nlb: one name for all, which then share one private key. none: neither."
  type        = string
  default     = "eip"

  validation {
    condition     = contains(["eip", "nlb", "none"], var.endpoint)
    error_message = "eip, nlb or none."
  }
}

variable "nlb_subnet_ids" {
  description = "Public subnets of the load balancer, one for each zone with a gateway. Only with endpoint = nlb."
  type        = list(string)
  default     = []
}

variable "health_port" {
  description = "TCP port of /healthz."
  type        = number
  default     = 8080
}

variable "health_sources" {
  description = "Who may ask /healthz: the load balancer's subnets or Route 53's health checkers. Empty: nobody."
  type        = set(string)
  default     = []
}

variable "allow_route_failover" {
  description = "true: the gateways may move routes in tables that carry the tag wgbgp:failover = true (iam-failover.json)."
  type        = bool
  default     = false
}

variable "allow_load_balancer" {
  description = "true: the gateways may register themselves and update their DNS records (iam-lb.json)."
  type        = bool
  default     = false
}

variable "alarm_topics" {
  description = "SNS topics that hear of alarms."
  type        = list(string)
  default     = []
}
