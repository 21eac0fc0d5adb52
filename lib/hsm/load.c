/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "lib/hsm/hsm.h"

__attribute__((constructor)) static void load(void)
{
	real();
	fork_prepare();
}

__attribute__((destructor)) static void unload(void)
{
	process_leave();
}
