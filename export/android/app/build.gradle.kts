plugins {
    alias(libs.plugins.android)
}

val bundle = rootProject.file("bundle")
require(bundle.resolve("manifest.json").isFile) { "No bundle at $bundle: `tledge bundle RUN --target android` puts one there." }

android {
    namespace = "tledge.app"
    compileSdk = 36

    defaultConfig {
        applicationId = "tledge.app"
        minSdk = 24
        targetSdk = 34 // from 35 on, an app draws below the bars of the system
        versionCode = 1
        versionName = "1"
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }
    // The bundle lies at the root of the assets as it is, without what a phone has no use for.
    sourceSets["main"].assets.srcDir(bundle)
    androidResources {
        noCompress += "tflite"
        ignoreAssetsPattern = "!<dir>saved_model:!*.onnx"
    }
}

dependencies {
    implementation(project(":core"))
    implementation(libs.activity)
    implementation(libs.camera.camera2)
    implementation(libs.camera.view)
    implementation(libs.litert)
}
