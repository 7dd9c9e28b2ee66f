// On every page: times, theme, menus, notices, the feed's line.

import { startContained } from "./contained.js";
import { startFeed } from "./feed.js";
import { startForms } from "./forms.js";
import { startHalts } from "./halts.js";
import { startMembership } from "./membership.js";
import { startNotices } from "./notify.js";
import { startTheme } from "./theme.js";
import { startTimes } from "./times.js";

startTheme();
startTimes();
startForms();
startContained();
startHalts();
startMembership();
startNotices();
startFeed();
