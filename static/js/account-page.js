// Signing in, confirming, and one's own account.

import "./app.js";
import { startPasskeys } from "./passkeys.js";

startPasskeys();
