# Names that several files go by. Nothing here asks AWS.
locals {
  name   = var.name != "" ? var.name : var.stream
  table  = var.table != "" ? var.table : "vortex-${var.stream}"
  prefix = trim(var.prefix, "/")
  below  = local.prefix == "" ? "" : "${local.prefix}/" # what keys begin with

  # Rules of the lifecycle: what keys begin with, and after how many days they are archived and deleted (0: never).
  rejected_expires_days = coalesce(var.rejected_expires_days, var.data_expires_days)
  lifecycle = {
    for id, rule in merge(
      { for at, folder in var.event_folders : at == 0 ? "events" : "events-${at}" => {
        folder = folder, archive = var.data_archive_days, expires = var.data_expires_days
      } },
      {
        bundles  = { folder = "_bundles/", archive = var.data_archive_days, expires = var.data_expires_days }
        rejected = { folder = var.rejected_folder, archive = 0, expires = local.rejected_expires_days }
      },
    ) : id => { prefix = "${local.below}${rule.folder}", archive = rule.archive, expires = rule.expires }
    if rule.archive + rule.expires > 0
  }

  # Who may assume the roles.
  accounts = {
    for mode, names in { fleet = var.service_accounts, loader = var.loader_service_accounts } :
    mode => [for name in names : "system:serviceaccount:${var.namespace}:${name}"]
  }
}
