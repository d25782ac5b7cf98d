locals {
  oidc_issuer = var.oidc_provider_arn != "" ? regex("oidc-provider/(.*)$", var.oidc_provider_arn)[0] : ""
}

data "aws_iam_policy_document" "trust" {
  for_each = local.accounts

  dynamic "statement" {
    for_each = var.oidc_provider_arn != "" ? [1] : []
    content {
      actions = ["sts:AssumeRoleWithWebIdentity"]
      principals {
        type        = "Federated"
        identifiers = [var.oidc_provider_arn]
      }
      condition {
        test     = "StringLike"
        variable = "${local.oidc_issuer}:sub"
        values   = each.value
      }
      condition {
        test     = "StringEquals"
        variable = "${local.oidc_issuer}:aud"
        values   = ["sts.amazonaws.com"]
      }
    }
  }

  dynamic "statement" {
    for_each = var.oidc_provider_arn == "" ? [1] : []
    content {
      actions = ["sts:AssumeRole", "sts:TagSession"]
      principals {
        type        = "Service"
        identifiers = ["pods.eks.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_role" "this" {
  for_each           = data.aws_iam_policy_document.trust
  name               = "vortex-${local.name}-${each.key}"
  assume_role_policy = each.value.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "this" {
  for_each = aws_iam_role.this
  name     = "vortex"
  role     = each.value.id
  policy   = local.policies[each.key]
}

resource "aws_iam_role_policy" "key" {
  for_each = var.kms_key_arn != "" ? aws_iam_role.this : {}
  name     = "vortex-key"
  role     = each.value.id
  policy   = local.policies[each.key == "loader" ? "key-read" : "key"]
}
