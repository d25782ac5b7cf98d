# What Vortex needs in AWS: a bucket, a lease table, two roles, alarms, and a stream if you have none.
#
#   module "vortex" {
#     source = "./deploy/terraform"
#     stream = "clickstream"
#     bucket = "my-clickstream"
#   }

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region
}

resource "aws_kinesis_stream" "this" {
  count            = var.create_stream ? 1 : 0
  name             = var.stream
  shard_count      = var.shards > 0 ? var.shards : null
  retention_period = var.retention_hours
  encryption_type  = var.kms_key_arn != "" ? "KMS" : "NONE"
  kms_key_id       = var.kms_key_arn != "" ? var.kms_key_arn : null
  tags             = var.tags

  stream_mode_details {
    stream_mode = var.shards > 0 ? "PROVISIONED" : "ON_DEMAND"
  }
}

# Attributes other than the key are not declared in DynamoDB. Vortex creates the table where it is missing; here it has
# tags and protection.
resource "aws_dynamodb_table" "leases" {
  count                       = var.create_table ? 1 : 0
  name                        = local.table
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "leaseKey"
  deletion_protection_enabled = true
  tags                        = var.tags

  attribute {
    name = "leaseKey"
    type = "S"
  }
}
