# The policies lie beside this module, once. Their placeholders are capitals. Each is marked before any is replaced: a name
# such as CLICKSTREAM may hold another placeholder.
locals {
  marked = { for mode in ["fleet", "loader", "key"] : mode => replace(
    file("${path.module}/../iam/${mode}.json"),
    "/\\b(REGION|ACCOUNT|TABLE|STREAM|BUCKET|PREFIX|KEY)\\b/", "<$1>"
  ) }

  policies = { for mode, text in local.marked : mode => replace(replace(replace(replace(replace(replace(replace(replace(
    text,
    "arn:aws:", "arn:${local.partition}:"),
    "<REGION>", local.region),
    "<ACCOUNT>", local.account),
    "<TABLE>", local.table),
    "<STREAM>", var.stream),
    "<BUCKET>", var.bucket),
    "<PREFIX>", var.prefix),
  "<KEY>", var.kms_key_arn) }
}
