# The policies lie beside this module, once. Their placeholders are capitals. Each is marked before any is replaced: a name
# such as CLICKSTREAM may hold another placeholder.
locals {
  marked = { for mode in ["fleet", "loader", "key", "key-read"] : mode => replace(
    file("${path.module}/../iam/${mode}.json"),
    "/\\b(REGION|ACCOUNT|TABLE|STREAM|BUCKET|PREFIX|KEY)\\b/", "<$1>"
  ) }

  # Without a prefix its slash goes, too.
  filled = { for mode, text in local.marked : mode => replace(replace(replace(replace(replace(replace(replace(replace(replace(
    text,
    "arn:aws:", "arn:${local.partition}:"),
    "<REGION>", local.region),
    "<ACCOUNT>", local.account),
    "<TABLE>", local.table),
    "<STREAM>", var.stream),
    "<BUCKET>", var.bucket),
    "<PREFIX>/", local.below),
    "<PREFIX>", local.prefix),
  "<KEY>", var.kms_key_arn) }

  # A resource of the default layout stands for those of event_folders. Access points come beside the bucket that they lead to.
  bucket_arn = "arn:${local.partition}:s3:::${var.bucket}"
  events     = "${local.bucket_arn}/${local.below}customer=*"
  policies = { for mode, text in local.filled : mode => jsonencode(merge(jsondecode(text), {
    Statement = [for statement in jsondecode(text).Statement : merge(statement, {
      Resource = flatten([for one in flatten([
        for given in flatten([statement.Resource]) : given == local.events ? [
          for folder in var.event_folders : "${local.bucket_arn}/${local.below}${folder}*"
        ] : [given]
        ]) : concat([one], [
        for point in var.access_point_arns :
        one == local.bucket_arn ? point : "${point}/object/${trimprefix(one, "${local.bucket_arn}/")}"
        if one == local.bucket_arn || startswith(one, "${local.bucket_arn}/")
      ])])
    })]
  })) }
}
