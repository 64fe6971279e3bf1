# Sourced by setup.sh and cargo-test.sh.

# Whether Mesa's software Vulkan (lavapipe) is here, on which the GPU kernels' tests run
# anywhere: a driver for a GPU that a machine does not have is no Vulkan.
software_vulkan() {
  compgen -G '/usr/share/vulkan/icd.d/lvp_icd*.json' >/dev/null || compgen -G '/etc/vulkan/icd.d/lvp_icd*.json' >/dev/null
}
