/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* This program, started by the keeper of a live mount: `lacunafs --resume=FD`
 * (fuse/keeper/handover.h). */
#pragma once

/* The exit status. */
int resume_run(const char *number);
