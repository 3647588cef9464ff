/* SPDX-License-Identifier: MIT */
/* Snapshots: not written yet; every call is refused. */
#include "index_internal.h"
int spec_index_save(const spec_index *x, const char *p, spec_message *why) { (void)x; (void)p; (void)why; return SPEC_ERR_UNSUPPORTED; }
int spec_index_load(spec_index **x, const char *p, const spec_index_load_options *o, spec_message *why) { (void)x; (void)p; (void)why; (void)o; return SPEC_ERR_UNSUPPORTED; }
void specp_unmap(spec_index *x) { (void)x; }
